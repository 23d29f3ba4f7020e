package workflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run parks until the earliest of its waits, also when that is one that would have been waited for in process.
func TestParksUntilTheEarliestWait(t *testing.T) {
	t.Parallel()
	short := func(ctx context.Context) error { return workflow.Sleep(ctx, "short", 2*time.Second) }
	retry := func(ctx context.Context) error {
		_, err := workflow.Do(ctx, "retry", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) == 1 {
				return 0, context.DeadlineExceeded
			}
			return 1, nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: 2 * time.Second, Jitter: -1}))
		return err
	}
	for name, wait := range map[string]func(context.Context) error{"sleep": short, "retry": retry} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			w := workflow.Define("waits", func(ctx context.Context, _ int) (int, error) {
				long := func(ctx context.Context) error { return workflow.Sleep(ctx, "long", time.Hour) }
				_, err := workflow.Parallel(ctx, "wait", []func(context.Context) error{long, wait},
					func(ctx context.Context, wait func(context.Context) error) (int, error) { return 0, wait(ctx) })
				return 0, err
			})
			b.svc.Register(w)
			kit.Work(t, b.svc)
			handle, err := w.Start(t.Context(), b.svc, 0)
			kit.Must(t, err)
			kit.Until(t, "the run is parked", func() bool { return b.get(handle.RunID()).Status == workflow.RunSuspended })
			if run := b.get(handle.RunID()); run.RunAt.Sub(run.UpdatedAt) > 3*time.Second {
				t.Errorf("parked for %s, want 2 s at most", run.RunAt.Sub(run.UpdatedAt))
			}
		})
	}
}

// An item of Parallel that parks the run keeps the items that wait for its place from starting: else each of them would have
// the function called again, and the run would never be parked.
func TestParallelWithALimitParks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("limited", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.Parallel(ctx, "nap", []int{1, 2, 3}, func(ctx context.Context, _ int) (int, error) {
			return 0, workflow.Sleep(ctx, "long", time.Hour)
		}, workflow.WithLimit(1))
		return 0, err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	kit.Until(t, "the run is parked", func() bool { return b.get(handle.RunID()).Status == workflow.RunSuspended })
	steps, err := b.svc.ListSteps(t.Context(), handle.RunID())
	if err != nil || len(steps) != 1 {
		t.Errorf("%d steps, %v; want the first sleep alone", len(steps), err)
	}
}
