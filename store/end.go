package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// End is the outcome of an owned run.
type End struct {
	Owned
	Status RunStatus
	Output json.RawMessage
	Err    *Error

	ParentID, ParentStep string // the step that awaits the run, which is told; "": none does
}

func (e *End) kind() int {
	if e.ParentStep != "" {
		return childEndKind
	}
	return endKind
}

func (e *End) size() int { return len(e.Output) }
func (e *End) fill(row *fields) {
	row.text(e.RunID)
	row.number(e.Epoch)
	row.text(string(e.Status))
	row.json(e.Output)
	row.json(encodeError(e.Err))
	if e.ParentStep != "" {
		row.text(e.ParentID)
		row.text(e.ParentStep)
	}
}

// ends is how a run becomes terminal, whoever ends it: the SET list of an UPDATE of workflow_runs AS run. What hangs on
// the end of a run hangs here. at is the time, which each statement has read already.
func ends(status, output, err, at string) string {
	return `status = ` + status + `, output = ` + output + `, error = ` + err + `, owner = NULL, epoch = run.epoch + 1,
    run_at = NULL, suspended_for = NULL, waits_for = NULL, blocked_at = NULL, updated_at = ` + at
}

// Cancelled runs keep what was recorded of them.
var cancelRun = pg.Define("cancel_run", `
	WITH `+clockClause+`, found AS (
	    SELECT id, status
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {update}
	), moved AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET `+ends("'cancelled'", "run.output", "run.error", "clock.ms")+`
	    FROM clock, found
	    WHERE run.id = found.id AND found.status IN ('pending', 'running', 'suspended')
	    RETURNING run.id
	)
	SELECT found.status, EXISTS (SELECT FROM moved) AS moved
	FROM clock, found`)

// CancelRun cancels a run that is not finished, whoever owns it; one that was cancelled already is fine, another
// finished one a *TransitionError.
func (s *Store) CancelRun(ctx context.Context, id string) error {
	return s.move(ctx, "cancel", id, cancelRun, RunCancelled)
}

func (s *Store) move(ctx context.Context, op, id string, q *pg.Query, to RunStatus) error {
	var found struct {
		Status RunStatus `db:"status"`
		Moved  bool      `db:"moved"`
	}
	err := s.guarded(ctx, &found, q, id)
	if err == nil && !found.Moved && (found.Status != to || to == RunPending) {
		err = &TransitionError{RunID: id, From: found.Status, To: to}
	}
	return pg.Problem(fmt.Sprintf("%s run %q", op, id), err)
}
