package store

import (
	"context"
	"encoding/json"
	"fmt"
)

// The transitions that the state API may make. Those of the engine stand in the statements of claim, release and finish.
var updateRunStatus = define(`
	WITH run AS (
	    SELECT id, status, owner IS NOT NULL AS owned,
	           status = $2
	           AND output IS NOT DISTINCT FROM $3::jsonb
	           AND error IS NOT DISTINCT FROM $4::jsonb AS same
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {update}
	), moved AS (
	    UPDATE {schema}.workflow_runs
	    SET status = $2, output = $3::jsonb, error = $4::jsonb, run_at = NULL, updated_at = {clock_ms}
	    FROM run
	    WHERE workflow_runs.id = run.id
	      AND NOT run.owned
	      AND (run.status, $2::text) IN (
	          ('pending',   'running'),
	          ('pending',   'completed'), ('pending',   'failed'), ('pending',   'cancelled'),
	          ('running',   'suspended'),
	          ('running',   'completed'), ('running',   'failed'), ('running',   'cancelled'),
	          ('suspended', 'running'),
	          ('suspended', 'completed'), ('suspended', 'failed'), ('suspended', 'cancelled'))
	    RETURNING workflow_runs.id
	)
	SELECT run.status, run.owned, run.same, EXISTS (SELECT FROM moved) AS moved
	FROM run`)

// UpdateRunStatus moves a run that nobody executes. The same status with equal output and error is success; another
// transition than those above is a *TransitionError, a run that a worker executes ErrRunOwned. A nil output is SQL NULL.
func (s *Store) UpdateRunStatus(
	ctx context.Context, id string, to RunStatus, output json.RawMessage, failure *Error,
) error {
	op := fmt.Sprintf("update status of run %q", id)
	var found struct {
		Status RunStatus `db:"status"`
		Owned  bool      `db:"owned"`
		Same   bool      `db:"same"`
		Moved  bool      `db:"moved"`
	}
	err := s.guarded(ctx, &found, updateRunStatus, id, string(to), argument(output), failure.encode())
	switch {
	case err != nil:
		return problem(op, err)
	case found.Owned:
		return problem(op, ErrRunOwned)
	case !found.Moved && !found.Same:
		return problem(op, &TransitionError{RunID: id, From: found.Status, To: to})
	default:
		return nil
	}
}
