package workflow_test

import (
	"context"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A run is blocked also when the reason cannot be stored as it is: a new step has a name that the database's encoding lacks.
func TestBlockedForAReasonThatCannotBeStored(t *testing.T) {
	t.Parallel()
	b := encoded(t, pgtest.PQ, "WIN1252")
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, epoch)
		VALUES ('r', 'changed', 'pending', '1', 1, 1, 1, 1)`)
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at, seq) VALUES ('r', 'old', 'succeeded', '1', 1, 1)`)
	b.svc.Register(workflow.Define("changed", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, beyond, value(1))
	}))
	kit.Work(t, b.svc)
	kit.Until(t, "the run is blocked, or handed back", func() bool {
		run := b.get("r")
		return run.Status != workflow.RunRunning && run.UpdatedAt.UnixMilli() != 1
	})
	if run := b.get("r"); run.SuspendedFor != workflow.SuspendedBlocked {
		t.Errorf("the run is %s, to be claimed in %s; want it blocked", run.Status, run.RunAt.Sub(run.UpdatedAt))
	}
}
