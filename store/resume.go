package store

import (
	"context"
	"errors"
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

// resumable are the clauses up to affected: with a run go the children that it waits for, and so on: those that were cancelled, and the
// only one of a step if it has failed. One of several is a result, which the run may have used. among is a further condition on a child.
func resumable(among string) string {
	return `affected AS (
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
	          AND (step.status = 'scheduled' OR step.status = 'failed' AND NOT ` + superseded("step", "{schema}.workflow_steps") + `)` + among + `
	        OFFSET 0
	    ) AS child
	)`
}

// A resumption writes more than it locks as a family: a failed step that has children is opened again, with the number of those that are
// unfinished. So there are three statements, of which the one that writes reads nothing that is older than the locks.
var (
	// Answers how the run stands, and which runs it has locked.
	lockResumed = pg.Define("lock_resumed", familyLocks(resumable(""), "FOR NO KEY UPDATE", "true")+`
	SELECT DISTINCT found.status, affected.id
	FROM clock
	CROSS JOIN affected
	JOIN locked AS found ON found.id = $1
	WHERE (SELECT count(*) FROM steps) >= 0`)

	// Locks the steps of these runs, $2, that may be opened again, unless there are others by now, and answers how many others. Whoever
	// ends a child locks its step, though not its parent: so no child of these steps ends from here on. One that has ended since a
	// caller's snapshot is an error of serialization.
	lockCalls = pg.Define("lock_calls", `
	WITH RECURSIVE `+clockClause+`, `+resumable("")+`, others AS MATERIALIZED (
	    SELECT count(*) AS n
	    FROM affected
	    WHERE id NOT IN (SELECT unnest($2::text[]))
	), calls AS MATERIALIZED (
	    SELECT step.*
	    FROM others
	    CROSS JOIN LATERAL (SELECT DISTINCT id FROM affected WHERE others.n = 0 ORDER BY id OFFSET 0) AS run
	    CROSS JOIN LATERAL (
	        SELECT run_id, step_name
	        FROM {schema}.workflow_steps
	        WHERE run_id = run.id AND kind = 'call' AND status IN ('failed', 'pending')
	        ORDER BY step_name
	        FOR NO KEY UPDATE
	    ) AS step
	), children AS MATERIALIZED (
	    SELECT child.id
	    FROM calls
	    CROSS JOIN LATERAL (
	        SELECT id
	        FROM {schema}.workflow_runs
	        WHERE parent_id = calls.run_id AND parent_step = calls.step_name AND status IN ('pending', 'running', 'suspended')
	        FOR SHARE SKIP LOCKED
	    ) AS child
	)
	SELECT others.n
	FROM clock
	CROSS JOIN others
	WHERE (SELECT count(*) FROM children) >= 0`)
)

// What later records depend on is never edited: a failed step is attempted again only if it is not superseded. Of an open step the
// children are unfinished once more; a failed step that has children is opened again, and does not start others. $2 are the runs that are
// locked.
var resumeRun = pg.Define("resume_run", familyLocks(resumable(`
	          AND child.id IN (SELECT unnest($2::text[]))`), "FOR NO KEY UPDATE", "true")+`, moved AS (
	    INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, created_at, updated_at)
	    SELECT locked.id, '', 'pending', 'null', 0, clock.ms
	    FROM clock
	    CROSS JOIN locked
	    WHERE locked.status IN ('failed', 'cancelled') AND locked.id IN (SELECT id FROM affected)
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
	SELECT count(*)
	FROM clock, moved`)

// ResumeRun makes a failed or cancelled run pending, and the children that it waits for; any other is a *TransitionError. A run
// whose unique key another unfinished run has is ErrUniqueTaken. A caller's transaction is usable after each of these.
func (s *Store) ResumeRun(ctx context.Context, id string) error {
	op, err := fmt.Sprintf("resume run %q", id), errFamilyChanged
	for try := 0; try < maxResumeTries && errors.Is(err, errFamilyChanged); try++ {
		if tx := s.db.Tx(); tx != nil {
			err = lock.Within(ctx, tx, s.opts.LockTimeout, func(ctx context.Context) error { return s.resumeRun(ctx, id) })
			err = pg.Problem(op, err)
			continue
		}
		err = s.InTransaction(ctx, op, func(ctx context.Context, s *Store) error {
			return pg.Problem(op, pg.Await(ctx, func() error { return s.resumeRun(ctx, id) }))
		})
	}
	return err
}

// errFamilyChanged is a resumption that has to begin again, without its locks: taken later, those of further runs would be out of order.
var errFamilyChanged = fmt.Errorf("%w: again and again what the run has called changed meanwhile", ErrLockTimeout)

const maxResumeTries = 10

func (s *Store) resumeRun(ctx context.Context, id string) error {
	locked, err := listFamily[changedRun](ctx, s, lockResumed, id)
	if err != nil {
		return err
	}
	if status := locked[0].Status; status != RunFailed && status != RunCancelled { // at once: whoever claims it passes over it meanwhile
		return &TransitionError{RunID: id, From: status, To: RunPending}
	}
	ids := pg.Texts(changed(locked))
	var others int
	if err := s.db.Get(ctx, &others, lockCalls, id, ids); err != nil {
		return err
	}
	if others > 0 {
		return errFamilyChanged
	}
	if _, err = s.db.Exec(ctx, resumeRun, id, ids); pg.IsUniqueViolation(err) {
		return ErrUniqueTaken
	}
	return err
}
