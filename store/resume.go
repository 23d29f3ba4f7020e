package store

import (
	"context"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/lock"
)

// superseded is whether something was recorded after a step: another one of the same run that the engine recorded later in the
// same branch, in one around it or in one within it. The branch of a step is its name up to the last slash, and the root branch
// is around all. A step without a place in the order was recorded by the state API: for it the times decide. Both are names of
// rows, of which the second are all steps.
func superseded(step, all string) string {
	branch := func(of string) string { return "coalesce(substring(" + of + ".step_name FROM '^.*/'), '')" }
	return `EXISTS (
	          SELECT
	          FROM ` + all + ` AS later
	          WHERE later.run_id = ` + step + `.run_id AND later.seq IS NOT NULL
	            AND CASE WHEN ` + step + `.seq IS NULL THEN later.updated_at > ` + step + `.updated_at
	                     ELSE later.seq > ` + step + `.seq
	                          AND (starts_with(` + branch(step) + `, ` + branch("later") + `)
	                               OR starts_with(` + branch("later") + `, ` + branch(step) + `))
	                END)`
}

// What later records depend on is never edited: a failed step is attempted again only if it is not superseded.
//
// With a run go the children that it waits for, and so on: those that were cancelled, and the only one of a step if it has
// failed. One of several is a result, which the run may have used. Of an open step they are unfinished once more; a failed
// step that has children is opened again, and does not start others.
var resumeRun = defineFamilyWrite("resume_run", `affected AS (
	    SELECT id, parent_id, parent_step
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    UNION ALL
	    SELECT child.*
	    FROM affected
	    CROSS JOIN LATERAL (
	        SELECT child.id, step.run_id, step.step_name
	        FROM {schema}.workflow_steps AS step
	        CROSS JOIN LATERAL (
	            SELECT id, status, count(*) OVER () AS siblings
	            FROM {schema}.workflow_runs
	            WHERE parent_id = step.run_id AND parent_step = step.step_name
	            OFFSET 0
	        ) AS child
	        WHERE step.run_id = affected.id AND step.kind = 'call'
	          AND (child.status = 'cancelled' OR child.status = 'failed' AND child.siblings = 1)
	          AND (step.status = 'scheduled' OR step.status = 'failed' AND NOT `+superseded("step", "{schema}.workflow_steps")+`)
	        OFFSET 0
	    ) AS child
	)`, "FOR NO KEY UPDATE", `, found AS (
	    SELECT id, status, unique_key IS NOT NULL AND NOT $2::boolean AS keyed
	    FROM locked
	    WHERE id = $1
	), moved AS (
	    INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, created_at, updated_at)
	    SELECT locked.id, '', 'pending', 'null', 0, clock.ms
	    FROM clock
	    CROSS JOIN found
	    CROSS JOIN locked
	    WHERE found.status IN ('failed', 'cancelled') AND NOT found.keyed
	      AND locked.status IN ('failed', 'cancelled') AND locked.id IN (SELECT id FROM affected)
	    ON CONFLICT (id) DO UPDATE
	    SET status = EXCLUDED.status, output = NULL, error = NULL, epoch = run.epoch + 1, run_at = EXCLUDED.updated_at,
	        wake_seq = run.wake_seq + 1, -- a child that ended while this was finished has told nobody
	        deadline_at = NULL, take_overs = 0, blocked_at = NULL, suspended_for = NULL, waits_for = NULL,
	        updated_at = EXCLUDED.updated_at
	    RETURNING run.id, run.parent_id, run.parent_step
	), unfinished AS (
	    -- Of open steps: how many of their children are so once more.
	    SELECT awaiting.parent_id, awaiting.parent_step, awaiting.waiting + count(*) AS waiting
	    FROM moved
	    JOIN awaiting USING (parent_id, parent_step)
	    GROUP BY awaiting.parent_id, awaiting.parent_step, awaiting.waiting
	), counted_up AS (
	    INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, updated_at, waiting)
	    SELECT parent_id, parent_step, 'scheduled', clock.ms, waiting
	    FROM clock
	    CROSS JOIN unfinished
	    ON CONFLICT (run_id, step_name) DO UPDATE
	    SET waiting = EXCLUDED.waiting
	), recorded AS MATERIALIZED (
	    SELECT step.run_id, step.step_name, step.status, step.kind, step.seq, step.updated_at
	    FROM moved
	    JOIN {schema}.workflow_steps AS step ON step.run_id = moved.id
	), again AS MATERIALIZED (
	    SELECT step.run_id, step.step_name, children.n > 0 AS open,
	           children.unfinished + (
	               SELECT count(*) FROM moved WHERE parent_id = step.run_id AND parent_step = step.step_name
	           ) AS waiting
	    FROM recorded AS step
	    LEFT JOIN LATERAL (
	        SELECT count(*) AS n, count(*) FILTER (WHERE status IN ('pending', 'running', 'suspended')) AS unfinished
	        FROM {schema}.workflow_runs
	        WHERE parent_id = step.run_id AND parent_step = step.step_name
	    ) AS children ON step.kind = 'call'
	    WHERE step.status IN ('failed', 'pending') AND NOT `+superseded("step", "recorded")+`
	), set_back AS (
	    UPDATE {schema}.workflow_steps AS step
	    SET status = CASE WHEN again.open THEN 'scheduled' ELSE 'pending' END,
	        error = CASE WHEN again.open THEN NULL ELSE step.error END,
	        waiting = CASE WHEN again.open THEN again.waiting END,
	        wake_at = NULL, attempts = jsonb_set(step.attempts, '{count}', '0'), updated_at = clock.ms
	    FROM clock, again
	    WHERE step.run_id = again.run_id AND step.step_name = again.step_name
	      AND step.status IN ('failed', 'pending') -- still, once it is locked
	)
	SELECT found.status, found.keyed, moved.id
	FROM clock
	CROSS JOIN found
	LEFT JOIN moved ON moved.id = found.id`)

// ResumeRun makes a failed or cancelled run pending, and the children that it waits for; any other is a *TransitionError. A run
// whose unique key another unfinished run has is ErrUniqueTaken.
func (s *Store) ResumeRun(ctx context.Context, id string) error {
	return pg.Problem(fmt.Sprintf("resume run %q", id), s.resumeRun(ctx, id))
}

func (s *Store) resumeRun(ctx context.Context, id string) error {
	type resumed struct {
		changedRun
		Keyed bool `db:"keyed"`
	}
	// That a key is taken is an error of the server, after which a caller's transaction is to be usable.
	rows, err := writeFamily[resumed](ctx, s, resumeRun, []any{id}, s.db.Tx() == nil)
	if err == nil && rows[0].Keyed && !rows[0].ID.Valid && resumable(rows[0].Status) {
		err = lock.Within(ctx, s.db.Tx(), s.opts.LockTimeout, func(ctx context.Context) (err error) {
			rows, err = writeFamily[resumed](ctx, s, resumeRun, []any{id}, true)
			return err
		})
	}
	switch {
	case pg.IsUniqueViolation(err):
		return ErrUniqueTaken
	case err == nil && !rows[0].ID.Valid:
		return &TransitionError{RunID: id, From: rows[0].Status, To: RunPending}
	default:
		return err
	}
}

func resumable(status RunStatus) bool { return status == RunFailed || status == RunCancelled }
