package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// A run that waits for a worker is claimed at its deadline, and ended by who has claimed it. One that no worker may claim then,
// because its queue is full or paused, or because it is announced elsewhere, is overdue.

var findOverdue = pg.DefineRead("find_overdue", `
	SELECT id, workflow, queue
	FROM {schema}.workflow_runs
	WHERE (queue IS NOT NULL OR dispatched_at IS NOT NULL) AND status IN ('pending', 'suspended') AND deadline_at <= {now_ms}
	ORDER BY deadline_at
	LIMIT 100`)

// OverdueRun is a run whose deadline has passed while it waited.
type OverdueRun struct {
	ID, Workflow string
	Queue        string // "": none
}

// Overdue returns runs, 100 at most, those that are overdue for longest first.
func (s *Store) Overdue(ctx context.Context) ([]OverdueRun, error) {
	var rows []struct {
		ID       string         `db:"id"`
		Workflow string         `db:"workflow"`
		Queue    sql.NullString `db:"queue"`
	}
	if err := s.db.List(ctx, &rows, findOverdue); err != nil {
		return nil, pg.Problem("look for overdue runs", err)
	}
	runs := make([]OverdueRun, len(rows))
	for i, row := range rows {
		runs[i] = OverdueRun{ID: row.ID, Workflow: row.Workflow, Queue: row.Queue.String}
	}
	return runs, nil
}

// It is ended with all that hangs on it or, if others have locked any of that, the next time.
var endOverdue = defineFamilySweep("end_overdue", `affected AS MATERIALIZED (
	    SELECT id, parent_id, parent_step
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	)`, `, ended AS (
	    INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, error, created_at, updated_at)
	    SELECT locked.id, '', 'failed', 'null', $2::jsonb, 0, clock.ms
	    FROM clock
	    CROSS JOIN locked
	    WHERE locked.id = $1 AND locked.status IN ('pending', 'suspended') AND locked.deadline_at <= {now_ms}
	      AND (SELECT count(*) FROM locked) = (
	          SELECT count(*)
	          FROM members
	          CROSS JOIN LATERAL (
	              SELECT
	              FROM {schema}.workflow_runs
	              WHERE id = members.id
	              OFFSET 0
	          ) AS run)
	      AND NOT EXISTS (SELECT FROM untold)
	    ON CONFLICT (id) DO UPDATE
	    SET `+ends("EXCLUDED.status", "NULL", "EXCLUDED.error", "EXCLUDED.updated_at")+`
	    RETURNING run.id
	)`+childrenEnded+`
	SELECT EXISTS (SELECT FROM ended)
	FROM clock, locked
	WHERE locked.id = $1`)

// EndOverdue fails a run that is overdue still, and tells the step that waits for it. It does nothing, and reports so, with one
// that is not, or that others have locked.
func (s *Store) EndOverdue(ctx context.Context, id string, why *Error) (ended bool, err error) {
	rows, err := listFamily[bool](ctx, s, endOverdue, id, pg.JSON(encodeError(why)))
	if errors.Is(err, ErrRunNotFound) { // or locked
		return false, nil
	}
	if err != nil {
		return false, pg.Problem(fmt.Sprintf("end overdue run %q", id), err)
	}
	return rows[0], nil
}
