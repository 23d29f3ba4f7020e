package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run whose deadline passes while it is about to be called again, because a step was refused when it was to be parked, has
// ended: no step of it is called any more.
func TestDeadlineBeforeAnotherCall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls, late atomic.Int32
	w := workflow.Define("late", func(ctx context.Context, _ int) (int, error) {
		if calls.Add(1) == 1 {
			err := workflow.Sleep(workflow.Branch(ctx, "a"), "nap", time.Hour)
			kit.WantIs(t, err, workflow.ErrInterrupted)
			_, refused := workflow.Do(workflow.Branch(ctx, "b"), "late", value(1))
			kit.WantIs(t, refused, workflow.ErrInterrupted)
			kit.Until(t, "the deadline has passed", func() bool { return b.get(workflow.RunID(ctx)).Status == workflow.RunFailed })
			return 0, err
		}
		return workflow.Do(workflow.Branch(ctx, "b"), "late", func(context.Context) (int, error) { return int(late.Add(1)), nil })
	})
	b.svc.Register(w)
	stop := kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0, workflow.WithDeadline(time.Second))
	kit.Must(t, err)
	if _, err := handle.Result(kit.Context(t)); !errors.Is(err, workflow.CodeDeadline) {
		t.Errorf("result: %v, want the deadline", err)
	}
	kit.Until(t, "the function has returned", func() bool {
		stats, err := b.svc.Stats(t.Context())
		return err == nil && stats.InFlight+stats.Hanging == 0
	})
	stop()
	if calls.Load() != 1 || late.Load() != 0 {
		t.Errorf("the function was called %d times, a step %d times; want once, and never", calls.Load(), late.Load())
	}
}
