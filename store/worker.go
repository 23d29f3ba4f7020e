package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// What follows is the engine's side: workers and their leases, claims, and what moves runs between owners. Every
// statement that takes a run from somebody raises its epoch.

var registerWorker = define(`
	INSERT INTO {schema}.workflow_workers (id, expires_at)
	VALUES ($1, {clock_ms} + $2::bigint)`)

// RegisterWorker gives a new worker a lease.
func (s *Store) RegisterWorker(ctx context.Context, id string, lease time.Duration) error {
	_, err := s.exec(ctx, registerWorker, id, lease.Milliseconds())
	return problem("register worker", err)
}

var heartbeat = define(`
	WITH worker AS (
	    UPDATE {schema}.workflow_workers
	    SET expires_at = {clock_ms} + $2::bigint
	    WHERE id = $1 AND expires_at > {now_ms}
	    RETURNING id
	)
	SELECT run.id, run.epoch
	FROM worker
	LEFT JOIN {schema}.workflow_runs AS run ON run.owner = worker.id`)

// Heartbeat renews a worker's lease, reports whether it still had one (a lease that has ended is never revived), and
// returns the runs that it owns.
func (s *Store) Heartbeat(ctx context.Context, id string, lease time.Duration) (owned []Owned, alive bool, err error) {
	var rows []struct {
		RunID sql.NullString `db:"id"`
		Epoch sql.NullInt64  `db:"epoch"`
	}
	if err := s.list(ctx, &rows, heartbeat, id, lease.Milliseconds()); err != nil {
		return nil, false, problem("heartbeat", err)
	}
	for _, row := range rows {
		if row.RunID.Valid {
			owned = append(owned, Owned{RunID: row.RunID.String, Epoch: row.Epoch.Int64})
		}
	}
	return owned, len(rows) > 0, nil
}

var releaseRuns = define(`
	UPDATE {schema}.workflow_runs
	SET status = 'pending', owner = NULL, epoch = epoch + 1, run_at = {clock_ms}, updated_at = {clock_ms}
	WHERE owner = $1`)

var endLease = define(`
	UPDATE {schema}.workflow_workers
	SET expires_at = {clock_ms}
	WHERE id = $1`)

// ReleaseWorker ends a worker's lease and hands its runs back. It returns how many there were. The worker's row stays, as
// a dead worker's does: a claim of it that is still under way in the server would be nobody's to take over.
func (s *Store) ReleaseWorker(ctx context.Context, id string) (released int64, err error) {
	if _, err = s.exec(ctx, endLease, id); err == nil {
		released, err = s.exec(ctx, releaseRuns, id)
	}
	if err == nil {
		_, err = s.exec(ctx, forgetWorkers)
	}
	return released, problem("release worker", err)
}

// Asked with every heartbeat: it has to be cheap to plan and to execute, and takeOver is not. On tables without statistics
// its estimate would even have it compiled.
var findOrphans = define(`
	SELECT true
	FROM {schema}.workflow_workers AS dead
	WHERE expires_at <= {now_ms}
	  AND EXISTS (SELECT FROM {schema}.workflow_runs WHERE owner = dead.id)
	LIMIT 1`)

// A run that was taken over ten times without a new step between kills its workers: it is not given to an eleventh.
var takeOver = define(`
	WITH dead AS (
	    SELECT id
	    FROM {schema}.workflow_workers
	    WHERE expires_at <= {now_ms}
	), orphans AS MATERIALIZED (
	    SELECT run.id, run.take_overs, run.progress_at
	    FROM dead
	    JOIN {schema}.workflow_runs AS run ON run.owner = dead.id
	    ORDER BY run.id
	    LIMIT 1000
	    FOR NO KEY UPDATE OF run SKIP LOCKED
	), counted AS (
	    SELECT orphans.id, newest.at AS progress_at,
	           CASE WHEN newest.at IS DISTINCT FROM orphans.progress_at THEN 1 ELSE orphans.take_overs + 1 END AS take_overs
	    FROM orphans
	    CROSS JOIN LATERAL (
	        SELECT max(updated_at) AS at
	        FROM {schema}.workflow_steps
	        WHERE run_id = orphans.id
	    ) AS newest
	)
	UPDATE {schema}.workflow_runs AS run
	SET owner = NULL, epoch = run.epoch + 1, updated_at = {clock_ms},
	    take_overs = counted.take_overs, progress_at = counted.progress_at,
	    status = CASE WHEN counted.take_overs >= 10 THEN 'failed' ELSE 'pending' END,
	    run_at = CASE WHEN counted.take_overs >= 10 THEN NULL ELSE {clock_ms} END,
	    error = CASE WHEN counted.take_overs >= 10 THEN jsonb_build_object(
	        'code', 'crash_loop',
	        'message', 'ten workers in a row died while they executed this run, without a new step between') END
	FROM counted
	WHERE run.id = counted.id`)

// A dead worker's row stays for an hour, to be seen, and because a row may only go when no claim of that worker can
// still be under way.
var forgetWorkers = define(`
	DELETE FROM {schema}.workflow_workers AS worker
	WHERE expires_at <= {now_ms} - 3600000
	  AND NOT EXISTS (SELECT FROM {schema}.workflow_runs WHERE owner = worker.id)`)

// TakeOver makes the runs of workers whose lease has ended pending, at most 1,000 a call, and returns how many; a run
// that has been taken over too often fails instead, with code crash_loop.
func (s *Store) TakeOver(ctx context.Context) (int64, error) {
	var orphans bool
	switch err := s.get(ctx, &orphans, findOrphans); {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil
	case err != nil:
		return 0, problem("look for dead workers", err)
	}
	taken, err := s.exec(ctx, takeOver)
	if err == nil && taken > 0 {
		_, err = s.exec(ctx, forgetWorkers)
	}
	return taken, problem("take over runs", err)
}
