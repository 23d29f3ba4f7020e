package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// A tree is cancelled as a whole: the run and whatever it has started, and so on, but for those that were started to go on and
// what these have started. Runs that are finished have children too. Those that are started or resumed while this waits for
// locks are found by [Store.FindStranded]. Cancelled runs keep what was recorded of them.
var (
	cancelRun = defineFamilyWrite("cancel_run", treeOf, "FOR NO KEY UPDATE", oneRun, cancels("true"))

	// For a sweep, which leaves to the next one what others have locked, and a child whose parent was resumed meanwhile.
	cancelStranded = defineFamilySweep("cancel_stranded", treeOf, cancels(toldOnly+` AND coalesce((
	          SELECT parent.id IN (SELECT id FROM locked WHERE status NOT IN ('pending', 'running', 'suspended'))
	          FROM affected
	          CROSS JOIN LATERAL (
	              SELECT id
	              FROM {schema}.workflow_runs
	              WHERE id = affected.parent_id
	              OFFSET 0
	          ) AS parent
	          WHERE affected.id = $1 AND affected.parent_step IS NOT NULL), true)`))
)

// toldOnly leaves out a run whose step, or whose parent, others have locked.
const toldOnly = "locked.id NOT IN (SELECT id FROM untold)"

// treeOf are the clauses up to affected: a run and what is unfinished of what it has started.
const treeOf = `tree AS (
	    SELECT id, parent_id, parent_step, status
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    UNION ALL
	    SELECT child.*
	    FROM tree
	    CROSS JOIN LATERAL (
	        SELECT id, parent_id, parent_step, status
	        FROM {schema}.workflow_runs
	        WHERE parent_id = tree.id AND abandoned IS NOT TRUE
	        OFFSET 0
	    ) AS child
	), affected AS MATERIALIZED (
	    SELECT id, parent_id, parent_step
	    FROM tree
	    WHERE id = $1 OR status IN ('pending', 'running', 'suspended')
	)`

// cancels continues a statement on a tree: it cancels those runs that meet a condition.
func cancels(condition string) string {
	return `, found AS (
	    SELECT id, status
	    FROM locked
	    WHERE id = $1
	), ended AS (
	    INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, created_at, updated_at)
	    SELECT locked.id, '', 'cancelled', 'null', 0, clock.ms
	    FROM clock
	    CROSS JOIN found
	    CROSS JOIN locked
	    WHERE found.status IN ('pending', 'running', 'suspended', 'cancelled')
	      AND locked.status IN ('pending', 'running', 'suspended') AND locked.id IN (SELECT id FROM affected)
	      AND ` + condition + `
	    ON CONFLICT (id) DO UPDATE
	    SET ` + ends("EXCLUDED.status", "run.output", "run.error", "EXCLUDED.updated_at") + `
	    RETURNING run.id
	)` + childrenEnded + `
	SELECT found.status, ended.id
	FROM clock
	CROSS JOIN found
	LEFT JOIN ended ON true`
}

// A changedRun is how the run itself stood before, and one that was changed.
type changedRun struct {
	Status RunStatus      `db:"status"`
	ID     sql.NullString `db:"id"`
}

// CancelRun cancels a run that is not finished, whoever owns it, and what it has started, and returns the ids of all that were
// cancelled. A run that was cancelled already is fine, another finished one a *TransitionError.
func (s *Store) CancelRun(ctx context.Context, id string) (cancelled []string, err error) {
	rows, err := writeFamily[changedRun](ctx, s, cancelRun, []any{id})
	cancelled = changed(rows)
	if err == nil && rows[0].Status.Finished() && rows[0].Status != RunCancelled {
		err = &TransitionError{RunID: id, From: rows[0].Status, To: RunCancelled}
	}
	return cancelled, pg.Problem(fmt.Sprintf("cancel run %q", id), err)
}

// cancelStranded cancels a child whose parent has ended, if nothing is in the way.
func (s *Store) cancelStranded(ctx context.Context, id string) (cancelled []string, err error) {
	rows, err := listFamily[changedRun](ctx, s, cancelStranded, id)
	if errors.Is(err, ErrRunNotFound) { // or locked
		err = nil
	}
	return changed(rows), pg.Problem(fmt.Sprintf("cancel stranded run %q", id), err)
}

func changed(rows []changedRun) (ids []string) {
	for _, row := range rows {
		if row.ID.Valid {
			ids = append(ids, row.ID.String)
		}
	}
	return ids
}
