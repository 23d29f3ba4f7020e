package workflow_test

import (
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

// At three in the morning: why does it not move? A program asks for the code and the facts, people read the sentence.
func ExampleService_Why() {
	backup := workflow.Define[string, int]("backup", nil) // the process that executes it is away
	svc, _, closeAll := newService()
	defer closeAll()
	must(svc.EnsureQueue(ctx, workflow.Queue{Name: "disks", MaxRunning: 1}))
	must(svc.PauseQueue(ctx, "disks"))
	handle, err := backup.Start(ctx, svc, "/home", workflow.WithQueue("disks"))
	must(err)

	for range 2 {
		why, err := svc.Why(ctx, handle.RunID())
		must(err)
		switch why.Code {
		case workflow.WhyQueuePaused:
			fmt.Println("paused:", why.Queue, time.Since(why.PausedAt) < time.Hour)
			must(svc.ResumeQueue(ctx, why.Queue))
		case workflow.WhyNoWorker:
			fmt.Println("start a worker that registers", why.Workflow)
		default:
			fmt.Println(why)
		}
	}
	// Output:
	// paused: disks true
	// start a worker that registers backup
}
