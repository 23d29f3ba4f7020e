package workflow_test

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A tick leaves a last run that somebody else holds for the next turn. Who starts one by hand waits for it, and is not told to try again.
func TestTriggerWaitsForWhoHoldsTheLastRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, w := t.Context(), nightly(nil) // nobody works
	kit.Must(t, w.SetSchedule(ctx, b.svc, workflow.Schedule{Name: "s", Every: time.Hour, Overlap: workflow.OverlapCancelOther}, 1))
	last, err := b.svc.TriggerSchedule(ctx, "s")
	kit.Must(t, err)

	stranger := kit.Begin(t, b.db)
	kit.Exec(t, stranger, "SELECT FROM workflows.workflow_runs WHERE id = $1 FOR UPDATE", last)
	triggered := kit.Go(t, func() error {
		_, err := b.svc.TriggerSchedule(ctx, "s")
		return err
	})
	kit.Waiters(t, b.db, 1)
	kit.Must(t, stranger.Rollback())
	kit.Must(t, kit.Receive(t, "the end of the wait", triggered))
	if run, err := b.svc.GetRun(ctx, last); err != nil || run.Status != workflow.RunCancelled {
		t.Errorf("the last run is %s, %v", run.Status, err)
	}
}
