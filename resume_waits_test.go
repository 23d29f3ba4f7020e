package workflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A child that ends while its parent has failed is met when the parent is resumed.
func TestResumeAfterTheChildEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		b.svc = b.service(func(c *workflow.Config) { c.Lease = time.Hour }) // no sweep helps
		child := workflow.Define("child", func(ctx context.Context, _ int) (int, error) { return 7, nil })
		parent := workflow.Define("parent", func(ctx context.Context, _ int) (int, error) {
			return workflow.Call(ctx, "c", child, 1, workflow.WithDelay(time.Second))
		})
		b.svc.Register(parent)
		b.svc.Register(child)
		kit.Work(t, b.svc)
		h, err := parent.Start(t.Context(), b.svc, 0)
		kit.Must(t, err)
		b.waiting(h.RunID(), "step:c")
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), h.RunID(), workflow.RunFailed, nil, context.Canceled))
		step, err := b.svc.GetStepState(t.Context(), h.RunID(), "c")
		kit.Must(t, err)
		kit.Until(t, "child ended", func() bool { return b.get(step.ChildID).Status == workflow.RunCompleted })
		kit.Must(t, b.svc.Resume(t.Context(), h.RunID()))
		got, err := h.Result(kit.Context(t))
		if got != 7 || err != nil {
			t.Errorf("%d, %v", got, err)
		}
	})
}

// A wait that timed out begins anew when its run is resumed, and has an end again.
func TestResumeTimesOutAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		ap := workflow.DefineApproval[bool]("ap")
		w := workflow.Define("w", func(ctx context.Context, ask bool) (int, error) {
			if ask {
				_, err := ap.Ask(ctx, workflow.ApprovalRequest{Within: 500 * time.Millisecond})
				return 0, err
			}
			_, err := number.Wait(ctx, 500*time.Millisecond)
			return 0, err
		})
		b.svc.Register(w)
		kit.Work(t, b.svc)
		for _, ask := range []bool{false, true} {
			h, err := w.Start(t.Context(), b.svc, ask)
			kit.Must(t, err)
			_, err = h.Result(kit.Context(t))
			kit.WantIs(t, err, workflow.CodeTimeout)
			kit.Must(t, b.svc.Resume(t.Context(), h.RunID()))
			_, err = h.Result(kit.Context(t))
			kit.WantIs(t, err, workflow.CodeTimeout)
		}
	})
}

// A call whose run was deleted calls it once more when its own run is resumed.
func TestResumeAfterTheChildWasDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		var bad atomic.Bool
		bad.Store(true)
		child := workflow.Define("child", func(ctx context.Context, _ int) (int, error) {
			if bad.Load() {
				return 0, workflow.Code("bad")
			}
			return 7, nil
		})
		parent := workflow.Define("parent", func(ctx context.Context, _ int) (int, error) { return workflow.Call(ctx, "c", child, 1) })
		b.svc.Register(parent, child)
		kit.Work(t, b.svc)
		h, err := parent.Start(t.Context(), b.svc, 0)
		kit.Must(t, err)
		_, err = h.Result(kit.Context(t))
		kit.WantIs(t, err, workflow.Code("bad"))
		step, err := b.svc.GetStepState(t.Context(), h.RunID(), "c")
		kit.Must(t, err)
		kit.Must(t, b.svc.DeleteRun(t.Context(), step.ChildID))
		bad.Store(false)
		kit.Must(t, b.svc.Resume(t.Context(), h.RunID()))
		got, err := h.Result(kit.Context(t))
		if got != 7 || err != nil {
			t.Errorf("%d, %v", got, err)
		}
	})
}
