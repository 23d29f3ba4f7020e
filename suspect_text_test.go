package workflow_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A suspect whose step cannot be marked fails, as it would when the step's result cannot be recorded: it is not claimed and handed
// back for ever.
func TestSuspectThatCannotBeMarked(t *testing.T) {
	t.Parallel()
	b := encoded(t, pgtest.PQ, "WIN1252")
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, epoch, take_overs)
		VALUES ('r', 'w', 'pending', '1', 1, 1, 1, 3, 2)`)
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) { return workflow.Do(ctx, beyond, value(1)) })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	kit.Until(t, "the run is over, or was claimed ten times", func() bool {
		return kit.One[bool](t, b.db, "SELECT status = 'failed' OR epoch > 20 FROM workflows.workflow_runs")
	})
	if run := b.get("r"); run.Status != workflow.RunFailed || !errors.Is(run.Err, workflow.CodeRefused) {
		t.Errorf("the run is %s: %v; want it failed, refused", run.Status, run.Err)
	}
}
