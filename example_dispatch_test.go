package workflow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// jobs is a queue of the application's. A real one outlives the process.
type jobs chan string

// Dispatch makes it a workflow.Dispatcher.
func (q jobs) Dispatch(ctx context.Context, runIDs []string) error {
	for _, id := range runIDs {
		select {
		case q <- id:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// A queue of the application's brings runs to their workers. A message names a run and nothing else; the consumer has it executed.
// Meanwhile Work keeps the lease, and tells the queue of what signals, timers and children have made runnable.
func ExampleService_Execute() {
	greet := workflow.Define("greet", func(ctx context.Context, name string) (string, error) {
		return workflow.Do(ctx, "compose", func(context.Context) (string, error) {
			return "Hello, " + name + "!", nil
		})
	})
	queue := make(jobs, 100)
	svc, _, closeAll := workingWith(workflow.Config{Dispatcher: queue}, greet)
	defer closeAll()

	ended := make(chan struct{})
	go func() { // the application's consumer
		defer close(ended)
		for id := range queue {
			if err := svc.Execute(ctx, id); err != nil { // it comes again
				time.AfterFunc(10*time.Millisecond, func() { queue <- id })
			}
		}
	}()

	handle, err := greet.Start(ctx, svc, "Ada")
	must(err)
	greeting, err := handle.Result(ctx)
	must(err)
	fmt.Println(greeting)

	close(queue)
	<-ended
	// Output: Hello, Ada!
}
