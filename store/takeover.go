package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Whether a worker lives is said here alone: {alive} and {dead} in the statements.
const (
	aliveWorker = "expires_at > {now_ms}"
	deadWorker  = "expires_at <= {now_ms}"
)

// Asked all the time: it has to be cheap to plan and to execute, and takeOver is not. On tables without statistics its
// estimate would even have it compiled.
var findOrphans = pg.DefineRead("find_orphans", `
	SELECT true
	FROM {schema}.workflow_workers AS worker
	WHERE {dead}
	  AND (SELECT true FROM {schema}.workflow_runs WHERE owner = worker.id LIMIT 1)
	LIMIT 1`)

// Deaths of a run's owners without a new step between are counted. Up to two may be bad luck; from then on the run is
// a suspect, which is executed by itself, its steps marked before they are called. From there on only a death inside a
// marked step counts. Suspects come back at random times.
var takeOver = pg.Define("take_over", `
	WITH `+clockClause+`, dead AS (
	    SELECT id
	    FROM {schema}.workflow_workers
	    WHERE {dead}
	), orphans AS MATERIALIZED (
	    SELECT run.id, run.take_overs, run.progress_at, run.updated_at AS owned_at
	    FROM dead
	    CROSS JOIN LATERAL (
	        SELECT *
	        FROM {schema}.workflow_runs
	        WHERE owner = dead.id
	        LIMIT 1000
	        FOR NO KEY UPDATE SKIP LOCKED
	    ) AS run
	    LIMIT 1000
	), counted AS MATERIALIZED (
	    SELECT orphans.id, newest.at AS progress_at,
	           CASE WHEN newest.at IS DISTINCT FROM orphans.progress_at THEN 1
	                WHEN orphans.take_overs < 2 OR newest.marked THEN orphans.take_overs + 1
	                ELSE orphans.take_overs
	           END AS take_overs
	    FROM orphans
	    CROSS JOIN LATERAL (
	        SELECT max(updated_at) FILTER (WHERE status <> 'running') AS at,
	               coalesce(bool_or(status = 'running' AND updated_at >= orphans.owned_at), false) AS marked
	        FROM {schema}.workflow_steps
	        WHERE run_id = orphans.id
	    ) AS newest
	), heir AS (
	    -- Only a worker with a lease may own a run; without one, what is to be ended stays where it is.
	    SELECT id
	    FROM {schema}.workflow_workers
	    WHERE id = $1 AND {alive}
	    FOR KEY SHARE
	)
	UPDATE {schema}.workflow_runs AS run
	SET take_overs = counted.take_overs, progress_at = counted.progress_at, epoch = run.epoch + 1, updated_at = clock.ms,
	    status = CASE WHEN heir.id IS NULL THEN 'pending' ELSE 'running' END, owner = heir.id,
	    run_at = CASE WHEN heir.id IS NULL
	                  THEN clock.ms + CASE WHEN counted.take_overs < 2 THEN 0 ELSE floor(random() * 1000)::bigint END
	             END
	FROM clock
	CROSS JOIN counted
	LEFT JOIN heir ON counted.take_overs >= `+strconv.Itoa(crashLoopFrom)+`
	WHERE run.id = counted.id AND (counted.take_overs < `+strconv.Itoa(crashLoopFrom)+` OR heir.id IS NOT NULL)
	RETURNING run.id, run.workflow, run.epoch, run.take_overs, run.wake_seq, run.parent_id, run.parent_step, run.queue, run.priority,
	          run.partition_key, heir.id IS NOT NULL AS doomed`)

// TakenOver is what became of the runs of dead workers.
type TakenOver struct {
	Pending []ClaimedRun // may be claimed by anybody
	Doomed  []ClaimedRun // were taken over too often, and are the caller's, who ends them
}

// TakeOver takes the runs of workers whose lease has ended, at most 1,000 a call. They become pending, but for those that have been
// taken over too often ([ClaimedRun.CrashLoop]): these belong to the given worker then, who need not know their workflow, or stay
// where they are if it has no lease.
func (s *Store) TakeOver(ctx context.Context, worker string) (TakenOver, error) {
	var orphans bool
	switch err := s.db.Get(ctx, &orphans, findOrphans); {
	case errors.Is(err, sql.ErrNoRows):
		return TakenOver{}, nil
	case err != nil:
		return TakenOver{}, pg.Problem("look for dead workers", err)
	}
	var rows []struct {
		ID         string         `db:"id"`
		Workflow   string         `db:"workflow"`
		Epoch      int64          `db:"epoch"`
		TakeOvers  int            `db:"take_overs"`
		WakeSeq    int64          `db:"wake_seq"`
		ParentID   sql.NullString `db:"parent_id"`
		ParentStep sql.NullString `db:"parent_step"`
		Doomed     bool           `db:"doomed"`
		placeRow
	}
	if err := s.db.List(ctx, &rows, takeOver, worker); err != nil {
		return TakenOver{}, pg.Problem("take over runs", err)
	}
	var taken TakenOver
	for _, row := range rows {
		run := ClaimedRun{
			Owned: Owned{RunID: row.ID, Epoch: row.Epoch}, Workflow: row.Workflow, TakeOvers: row.TakeOvers, WakeSeq: row.WakeSeq,
			ParentID: row.ParentID.String, ParentStep: row.ParentStep.String, Place: row.place(),
		}
		if row.Doomed {
			taken.Doomed = append(taken.Doomed, run)
		} else {
			taken.Pending = append(taken.Pending, run)
		}
	}
	return taken, nil
}

const forgetBatch = 1000

// A dead worker's row stays for an hour, to be seen, and because a row may only go when no claim of that worker can
// still be under way.
var forgetWorkers = pg.Define("forget_workers", `
	WITH `+clockClause+`, forgotten AS MATERIALIZED (
	    SELECT id
	    FROM {schema}.workflow_workers AS worker
	    WHERE expires_at <= {now_ms} - 3600000
	      AND (SELECT true FROM {schema}.workflow_runs WHERE owner = worker.id LIMIT 1) IS NULL
	    LIMIT $1::bigint
	    FOR UPDATE SKIP LOCKED
	)
	DELETE FROM {schema}.workflow_workers AS worker
	USING clock, forgotten
	WHERE worker.id = forgotten.id`)

// ForgetWorkers deletes the rows of workers that died long ago, 1,000 a statement until there are no more.
func (s *Store) ForgetWorkers(ctx context.Context) error {
	for {
		n, err := s.db.Exec(ctx, forgetWorkers, int64(forgetBatch))
		if err != nil || n < forgetBatch {
			return pg.Problem("forget dead workers", err)
		}
	}
}
