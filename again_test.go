package workflow_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A function that is called again, because a step ended its goroutine, waits for the steps that other goroutines are still in:
// they are not executed beside themselves.
func TestNextCallWaitsForStepsInFlight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var slow, calls atomic.Int32
	inside, exits, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w := workflow.Define("again", func(ctx context.Context, _ int) (int, error) {
		first := calls.Add(1) == 1
		other := kit.Go(t, func() int {
			got, _ := workflow.Do(workflow.Branch(ctx, "b"), "slow", func(context.Context) (int, error) {
				if slow.Add(1) == 1 {
					close(inside)
				}
				<-release
				return 1, nil
			})
			return got
		})
		if first {
			<-inside
		}
		_, err := workflow.Do(workflow.Branch(ctx, "a"), "exit", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) == 1 {
				close(exits)
				runtime.Goexit()
			}
			return 1, nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: time.Millisecond}))
		return kit.Receive(t, "the other goroutine", other), err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	<-exits
	kit.Until(t, "the failed attempt is recorded", func() bool {
		step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "a/exit")
		return err == nil && step.Attempts != nil
	})
	kit.Pause(t.Context(), 200*time.Millisecond) // in which the function could be called again
	close(release)
	got, err := handle.Result(kit.Context(t))
	if err != nil || got != 1 || slow.Load() != 1 {
		t.Errorf("result %d, %v, the slow step was called %d times; want 1, once", got, err, slow.Load())
	}
}
