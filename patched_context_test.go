package workflow_test

import (
	"context"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// What Patched answers does not depend on a context that the function made for itself: the answer is recorded, or the run stops.
func TestPatchedWithAnEndedContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	handle, answers, err := run(b, "patched", func(ctx context.Context, _ int) ([]bool, error) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return []bool{workflow.Patched(ended, "change"), workflow.Patched(ctx, "change")}, nil
	})
	if err != nil || len(answers) != 2 || !answers[0] || !answers[1] {
		t.Errorf("answers %v, %v; want true twice", answers, err)
	}
	steps, err := b.svc.ListSteps(t.Context(), handle.RunID())
	if err != nil || len(steps) != 1 {
		t.Errorf("%d markers are recorded, %v; want one", len(steps), err)
	}
}
