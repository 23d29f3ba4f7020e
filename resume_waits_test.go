package workflow_test

import (
	"context"
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
		got, err := h.Result(kit.Within(t, 10*time.Second))
		if got != 7 || err != nil {
			t.Errorf("%d, %v", got, err)
		}
	})
}
