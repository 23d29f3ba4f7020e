package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// The transitions that the state API may make. Those of the engine stand in the statements of claim, release and finish.
var updateRunStatus = defineFamilyWrite("update_run_status", `affected AS MATERIALIZED (
	    SELECT id, parent_id, CASE WHEN $2::text NOT IN ('running', 'suspended') THEN parent_step END AS parent_step
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	)`, "FOR NO KEY UPDATE", oneRun, `, found AS (
	    SELECT id, status, output, error, owner IS NOT NULL AS owned
	    FROM locked
	    WHERE id = $1
	), allowed AS (
	    SELECT id
	    FROM found
	    WHERE NOT owned
	      AND (status, $2::text) IN (
	          ('pending',   'running'),
	          ('pending',   'completed'), ('pending',   'failed'), ('pending',   'cancelled'),
	          ('running',   'suspended'),
	          ('running',   'completed'), ('running',   'failed'), ('running',   'cancelled'),
	          ('suspended', 'running'),
	          ('suspended', 'completed'), ('suspended', 'failed'), ('suspended', 'cancelled'))
	), moved AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET status = $2, output = $3::jsonb, error = $4::jsonb, run_at = NULL, blocked_at = NULL, updated_at = clock.ms,
	        suspended_for = CASE WHEN $2 = 'suspended' THEN 'by_hand' END, waits_for = NULL
	    FROM clock, allowed
	    WHERE run.id = allowed.id AND $2 IN ('running', 'suspended')
	    RETURNING run.id
	), ended AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET `+ends("$2", "$3::jsonb", "$4::jsonb", "clock.ms")+`
	    FROM clock, allowed
	    WHERE run.id = allowed.id AND $2 NOT IN ('running', 'suspended')
	    RETURNING run.id
	)`+childrenEnded+`
	SELECT status, owned, EXISTS (SELECT FROM moved) OR EXISTS (SELECT FROM ended) AS moved,
	       -- To be compared, when nothing has moved.
	       CASE WHEN status = $2 THEN output END AS output, CASE WHEN status = $2 THEN error END AS error
	FROM clock, found`)

// UpdateRunStatus moves a run that nobody executes, and tells the step that waits for it when this ends it. The same status with
// equal output and error is success; another transition than those above is a *TransitionError, a run that a worker executes
// ErrRunOwned. A nil output is SQL NULL.
func (s *Store) UpdateRunStatus(
	ctx context.Context, id string, to RunStatus, output json.RawMessage, failure *Error,
) error {
	op := fmt.Sprintf("update status of run %q", id)
	rows, err := writeFamily[struct {
		Status RunStatus `db:"status"`
		Owned  bool      `db:"owned"`
		Moved  bool      `db:"moved"`
		Output pg.JSONB  `db:"output"`
		Error  pg.JSONB  `db:"error"`
	}](ctx, s, updateRunStatus, []any{id, string(to)}, pg.JSON(output), pg.JSON(encodeError(failure)))
	if err != nil {
		return pg.Problem(op, err)
	}
	switch found := rows[0]; {
	case found.Owned:
		return pg.Problem(op, ErrRunOwned)
	case found.Moved:
		return nil
	case found.Status == to && sameJSON(json.RawMessage(found.Output), output) && sameError(found.Error, failure):
		return nil
	default:
		return pg.Problem(op, &TransitionError{RunID: id, From: found.Status, To: to})
	}
}
