package store

import (
	"context"
	"database/sql"
	"errors"

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
	)
	UPDATE {schema}.workflow_runs AS run
	SET take_overs = counted.take_overs, progress_at = counted.progress_at,
	    status = 'pending', owner = NULL, epoch = run.epoch + 1, updated_at = clock.ms,
	    run_at = clock.ms + CASE WHEN counted.take_overs < 2 THEN 0 ELSE floor(random() * 1000)::bigint END
	FROM clock, counted
	WHERE run.id = counted.id`)

// TakeOver makes the runs of workers whose lease has ended pending, at most 1,000 a call, and returns how many. It is
// for whoever claims a run that was taken over too often ([ClaimedRun.CrashLoop]) to end it.
func (s *Store) TakeOver(ctx context.Context) (int64, error) {
	var orphans bool
	switch err := s.db.Get(ctx, &orphans, findOrphans); {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil
	case err != nil:
		return 0, pg.Problem("look for dead workers", err)
	}
	taken, err := s.db.Exec(ctx, takeOver)
	return taken, pg.Problem("take over runs", err)
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
