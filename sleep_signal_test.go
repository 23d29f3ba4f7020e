package workflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run that has been sent something, and only waits for a time, is parked all the same.
func TestSleepAfterASignal(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		b.svc.Register(workflow.Define("nap", func(ctx context.Context, _ int) (int, error) {
			if err := number.Send(context.WithoutCancel(t.Context()), b.svc, workflow.RunID(ctx), 1, workflow.WithKey("k")); err != nil {
				return 0, err
			}
			return 0, workflow.Sleep(ctx, "nap", time.Hour)
		}))
		kit.Work(t, b.svc)
		h, err := workflow.Define[int, int]("nap", nil).Start(t.Context(), b.svc, 0)
		kit.Must(t, err)
		b.parked(h.RunID())
	})
}
