package store

import (
	"context"
	"errors"
	"slices"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/lock"
)

// A familyWrite changes runs by hand, and with them what their parents wait for. It locks what it is going to touch before it
// writes anything: first the runs in the order of their ids, those that it changes and those that wait for them, then the steps
// that wait for them. Whoever waits for the lock of a step holds its run's: so two of these never wait for each other.
//
// In a caller's transaction nothing may wait without a bound. There a statement goes first that skips what others have locked and writes
// only if that is all, as a rule one run. If it answers nothing, all locks are waited for in their order, and then the statement that waits
// is sent, both within the bound: it sees what was written before the locks were had, and waits for runs that have come since.
type familyWrite struct{ atOnce, lock, waits *pg.Query }

// familyLocks begins a family's statement. affected are the clauses up to the one of that name, of the runs to be changed: id,
// parent_id and parent_step, the latter NULL when no step waits for the run. goAhead says whether locks may be taken.
func familyLocks(affected, lock, goAhead string) string {
	return `
	WITH RECURSIVE ` + clockClause + `, ` + affected + `, members AS MATERIALIZED (
	    SELECT id FROM affected
	    UNION
	    SELECT parent_id FROM affected WHERE parent_step IS NOT NULL
	), locked AS MATERIALIZED (
	    SELECT run.*
	    FROM (SELECT id FROM members ORDER BY id OFFSET 0) AS member
	    CROSS JOIN LATERAL (
	        SELECT id, status, output, error, owner, unique_key, deadline_at
	        FROM {schema}.workflow_runs
	        WHERE id = member.id
	        ` + lock + `
	    ) AS run
	    WHERE ` + goAhead + `
	), steps AS MATERIALIZED (
	    -- Once all runs are locked.
	    SELECT step.*
	    FROM (
	        SELECT DISTINCT parent_id, parent_step
	        FROM affected
	        WHERE parent_step IS NOT NULL AND (SELECT count(*) FROM locked) > 0
	        ORDER BY parent_id, parent_step
	        OFFSET 0
	    ) AS family
	    CROSS JOIN LATERAL (
	        SELECT run_id AS parent_id, step_name AS parent_step, waiting, status
	        FROM {schema}.workflow_steps
	        WHERE run_id = family.parent_id AND step_name = family.parent_step
	        OFFSET 0
	        ` + lock + `
	    ) AS step
	), awaiting AS (
	    -- As they are once locked: Resume may have opened one since this statement began.
	    SELECT parent_id, parent_step, waiting
	    FROM steps
	    WHERE status = 'scheduled' AND waiting IS NOT NULL
	)`
}

// untold continues a statement that skips what others have locked: the runs whose step, or whose parent, it has skipped, so that they
// cannot tell it.
const untold = `, untold AS MATERIALIZED (
	    SELECT affected.id
	    FROM affected
	    CROSS JOIN LATERAL (
	        SELECT
	        FROM {schema}.workflow_steps
	        WHERE run_id = affected.parent_id AND step_name = affected.parent_step
	        OFFSET 0
	    ) AS step
	    LEFT JOIN steps USING (parent_id, parent_step)
	    WHERE steps.status IS NULL OR affected.parent_id NOT IN (SELECT id FROM locked)
	)`

// childrenEnded continues a statement whose clause ended has the ids of the runs that it ended, of those affected.
var childrenEnded = `, told AS MATERIALIZED (
	    SELECT awaiting.parent_id, awaiting.parent_step, greatest(awaiting.waiting - count(*), 0) AS remaining,
	           awaiting.waiting <= count(*) AND parent.status IN ('pending', 'running', 'suspended') AS last
	    FROM ended
	    JOIN affected ON affected.id = ended.id
	    JOIN awaiting ON awaiting.parent_id = affected.parent_id AND awaiting.parent_step = affected.parent_step
	    -- A parent that ends itself, in this statement, does not go on.
	    LEFT JOIN locked AS parent ON parent.id = awaiting.parent_id AND parent.id NOT IN (SELECT id FROM ended)
	    GROUP BY awaiting.parent_id, awaiting.parent_step, awaiting.waiting, parent.status
	), ` + tellParents

// tellParents writes what a clause told says of the steps that wait for runs which have ended: how many remain, and whether the
// parent goes on because this was the last. It names each by its key, in an INSERT that always ends in the update: an UPDATE
// would join instead, and a plan from when the tables were small would read all of them.
var tellParents = `counted_down AS (
    INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, updated_at, waiting)
    SELECT parent_id, parent_step, 'scheduled', clock.ms, told.remaining
    FROM clock
    CROSS JOIN told
    WHERE told.remaining IS NOT NULL
    ON CONFLICT (run_id, step_name) DO UPDATE
    SET waiting = EXCLUDED.waiting
), parents_woken AS (
    INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, created_at, updated_at, waits_for)
    SELECT parent_id, '', 'pending', 'null', 0, clock.ms, array_agg('step:' || parent_step)
    FROM clock
    CROSS JOIN told
    WHERE told.last
    GROUP BY parent_id, clock.ms
    ON CONFLICT (id) DO UPDATE
    SET ` + wakesTo("run.wake_seq + 1", "EXCLUDED.waits_for", "EXCLUDED.updated_at") + `
)`

// defineFamilyWrite makes the statements of a write; the two that write have one name. atOnce is when the first one goes ahead.
func defineFamilyWrite(name, affected, lock, atOnce, rest string) familyWrite {
	return familyWrite{
		atOnce: pg.Define(name, familyLocks(affected, lock+" SKIP LOCKED", atOnce)+rest),
		lock: pg.Define("lock_family", familyLocks(affected, lock, "true")+`
	SELECT (SELECT count(*) FROM locked) + (SELECT count(*) FROM steps)
	FROM clock`),
		waits: pg.Define(name, familyLocks(affected, lock, "true")+rest),
	}
}

// oneRun is when a statement may go ahead that locks nothing but the runs of its family.
const oneRun = "(SELECT count(*) FROM members) = 1"

// defineFamilySweep makes a statement that waits for nothing and leaves alone what others have locked.
func defineFamilySweep(name, affected, rest string) *pg.Query {
	return pg.Define(name, familyLocks(affected, "FOR NO KEY UPDATE SKIP LOCKED", "true")+untold+rest)
}

// writeFamily sends a write, which answers with rows if the run exists. affected are the arguments that its clause of that name has,
// and more are the others.
func writeFamily[row any](ctx context.Context, s *Store, w familyWrite, affected []any, more ...any) (rows []row, err error) {
	args := slices.Concat(affected, more)
	if s.db.Tx() == nil {
		return listFamily[row](ctx, s, w.waits, args...)
	}
	rows, err = listFamily[row](ctx, s, w.atOnce, args...)
	if !errors.Is(err, ErrRunNotFound) { // or more than one, or locked
		return rows, err
	}
	err = lock.Within(ctx, s.db.Tx(), s.opts.LockTimeout, func(ctx context.Context) (err error) {
		var locked int
		if err = s.db.Get(ctx, &locked, w.lock, affected...); err == nil {
			rows, err = listFamily[row](ctx, s, w.waits, args...)
		}
		return err
	})
	return rows, err
}

// listFamily sends a statement of a family, which answers with rows if the run exists and is not skipped.
func listFamily[row any](ctx context.Context, s *Store, q *pg.Query, args ...any) ([]row, error) {
	var rows []row
	switch err := s.db.List(ctx, &rows, q, args...); {
	case err != nil: // a call that was left behind may still write to rows
		return nil, err
	case len(rows) == 0:
		return nil, ErrRunNotFound
	default:
		return rows, nil
	}
}
