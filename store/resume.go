package store

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// What later records depend on is never edited: a failed step is attempted again only if nothing was recorded after it,
// which is a step that the engine recorded later in the same branch, in one around it or in one within it. The branch of a
// step is its name up to the last slash, and the root branch is around all. A step without a place in the order was
// recorded by the state API: for it the times decide.
var resumeRun = pg.Define("resume_run", `
	WITH `+clockClause+`, found AS (
	    SELECT id, status
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {update}
	), moved AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET status = 'pending', output = NULL, error = NULL, epoch = run.epoch + 1, run_at = clock.ms,
	        deadline_at = NULL, take_overs = 0, blocked_at = NULL, suspended_for = NULL, updated_at = clock.ms
	    FROM clock, found
	    WHERE run.id = found.id AND found.status IN ('failed', 'cancelled')
	    RETURNING run.id
	), recorded AS MATERIALIZED (
	    SELECT step.step_name, step.status, step.seq, step.updated_at,
	           coalesce(substring(step.step_name FROM '^.*/'), '') AS branch
	    FROM moved
	    JOIN {schema}.workflow_steps AS step ON step.run_id = moved.id
	), again AS (
	    UPDATE {schema}.workflow_steps AS step
	    SET status = 'pending', wake_at = NULL, attempts = jsonb_set(step.attempts, '{count}', '0'), updated_at = clock.ms
	    FROM clock, moved, recorded
	    WHERE step.run_id = moved.id AND step.step_name = recorded.step_name
	      AND recorded.status IN ('failed', 'pending')
	      AND NOT EXISTS (
	          SELECT FROM recorded AS later
	          WHERE later.seq IS NOT NULL
	            AND CASE WHEN recorded.seq IS NULL THEN later.updated_at > recorded.updated_at
	                     ELSE later.seq > recorded.seq
	                          AND (starts_with(recorded.branch, later.branch) OR starts_with(later.branch, recorded.branch))
	                END)
	)
	SELECT found.status, EXISTS (SELECT FROM moved) AS moved
	FROM clock, found`)

// ResumeRun makes a failed or cancelled run pending; any other is a *TransitionError.
func (s *Store) ResumeRun(ctx context.Context, id string) error {
	return s.move(ctx, "resume", id, resumeRun, RunPending)
}
