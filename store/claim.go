package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

// ClaimedRun is a run that now belongs to the worker that claimed it.
type ClaimedRun struct {
	ID       string
	Workflow string
	Input    json.RawMessage
	Epoch    int64          // every write of the owner carries it
	Deadline *time.Duration // from the claim on; nil: none
	Begun    bool           // it may have steps
}

// Begun is no EXISTS, which might be planned as a scan of all steps into a hash table.
var claimRuns = define(`
	WITH worker AS (
	    -- Only who has a lease may claim.
	    SELECT id
	    FROM {schema}.workflow_workers
	    WHERE id = $1 AND expires_at > {now_ms}
	    FOR KEY SHARE
	), picked AS MATERIALIZED (
	    -- One index scan for each workflow that this worker knows.
	    SELECT run.id
	    FROM worker
	    CROSS JOIN jsonb_array_elements_text($2::jsonb) AS known (workflow)
	    CROSS JOIN LATERAL (
	        SELECT id
	        FROM {schema}.workflow_runs
	        WHERE workflow = known.workflow
	          AND status IN ('pending', 'suspended')
	          AND run_at <= {now_ms}
	        ORDER BY run_at
	        LIMIT $3::bigint
	        FOR NO KEY UPDATE SKIP LOCKED
	    ) AS run
	    LIMIT $3::bigint
	)
	UPDATE {schema}.workflow_runs AS run
	SET status = 'running', owner = $1, epoch = run.epoch + 1, run_at = NULL, updated_at = {clock_ms}
	FROM picked
	WHERE run.id = picked.id
	RETURNING run.id, run.workflow, run.input, run.epoch, run.deadline_at - {now_ms} AS deadline_in,
	          run.epoch > 1 OR (SELECT true FROM {schema}.workflow_steps WHERE run_id = run.id LIMIT 1) IS NOT NULL AS begun`)

// Claim makes the worker the owner of up to limit runs of the given workflows that may run now. Workflows named first are
// served first.
func (s *Store) Claim(ctx context.Context, worker string, workflows []string, limit int) ([]ClaimedRun, error) {
	known, err := json.Marshal(workflows)
	if err != nil {
		return nil, problem("claim runs", err)
	}
	var rows []struct {
		ID       string        `db:"id"`
		Workflow string        `db:"workflow"`
		Input    jsonb         `db:"input"`
		Epoch    int64         `db:"epoch"`
		Deadline sql.NullInt64 `db:"deadline_in"`
		Begun    bool          `db:"begun"`
	}
	if err := s.list(ctx, &rows, claimRuns, worker, string(known), limit); err != nil {
		return nil, problem("claim runs", err)
	}
	claimed := make([]ClaimedRun, len(rows))
	for i, row := range rows {
		claimed[i] = ClaimedRun{ID: row.ID, Workflow: row.Workflow, Input: json.RawMessage(row.Input), Epoch: row.Epoch, Begun: row.Begun}
		if row.Deadline.Valid {
			left := time.Duration(row.Deadline.Int64) * time.Millisecond
			claimed[i].Deadline = &left
		}
	}
	return claimed, nil
}

// OFFSET 0 makes it a look-up for each run. A join would be planned once, for the size that the table has then.
var loadSteps = define(`
	SELECT given.run_id, step_name, status, result, error, updated_at, kind, attempts, wake_at, wake_at - {now_ms} AS wake_in
	FROM jsonb_array_elements_text($1::jsonb) AS given (run_id)
	CROSS JOIN LATERAL (
	    SELECT *
	    FROM {schema}.workflow_steps
	    WHERE run_id = given.run_id
	    OFFSET 0
	) AS step`)

// LoadSteps returns the steps of several runs, by run. It must be a later statement than the claim, to see what the
// owner before wrote. A run that nobody has owned before may have steps of the state API: those that were written while it
// was being claimed are met when the step is checkpointed.
func (s *Store) LoadSteps(ctx context.Context, runIDs []string) (map[string][]Step, error) {
	ids, err := json.Marshal(runIDs)
	if err != nil {
		return nil, problem("load steps", err)
	}
	var rows []struct {
		RunID string `db:"run_id"`
		stepRow
	}
	if err := s.list(ctx, &rows, loadSteps, string(ids)); err != nil {
		return nil, problem("load steps", err)
	}
	steps := make(map[string][]Step)
	for _, row := range rows {
		steps[row.RunID] = append(steps[row.RunID], row.step(row.RunID))
	}
	return steps, nil
}
