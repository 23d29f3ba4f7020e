package store

import (
	"context"
	"fmt"
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
	UPDATE {schema}.workflow_workers
	SET expires_at = {clock_ms} + $2::bigint
	WHERE id = $1 AND expires_at > {now_ms}`)

// Heartbeat renews a worker's lease and reports whether it still had one: a lease that has ended is never revived.
func (s *Store) Heartbeat(ctx context.Context, id string, lease time.Duration) (bool, error) {
	renewed, err := s.exec(ctx, heartbeat, id, lease.Milliseconds())
	return renewed == 1, problem("heartbeat", err)
}

var releaseRuns = define(`
	UPDATE {schema}.workflow_runs
	SET status = 'pending', owner = NULL, epoch = epoch + 1, run_at = {clock_ms}, updated_at = {clock_ms}
	WHERE owner = $1`)

var removeWorker = define(`
	DELETE FROM {schema}.workflow_workers
	WHERE id = $1`)

// ReleaseWorker hands the runs of a worker back and removes it. It returns how many there were.
func (s *Store) ReleaseWorker(ctx context.Context, id string) (int64, error) {
	released, err := s.exec(ctx, releaseRuns, id)
	if err == nil {
		_, err = s.exec(ctx, removeWorker, id)
	}
	return released, problem("release worker", err)
}

var releaseRun = define(`
	UPDATE {schema}.workflow_runs
	SET status = 'pending', owner = NULL, epoch = epoch + 1, run_at = {clock_ms}, updated_at = {clock_ms}
	WHERE id = $1 AND epoch = $2::bigint AND status = 'running'`)

// ReleaseRun makes an owned run pending; ErrRunLost when it has another owner by now.
func (s *Store) ReleaseRun(ctx context.Context, run Owned) error {
	released, err := s.exec(ctx, releaseRun, run.RunID, run.Epoch)
	if err == nil && released == 0 {
		err = ErrRunLost
	}
	return problem(fmt.Sprintf("release run %q", run.RunID), err)
}

var takeOver = define(`
	WITH dead AS (
	    SELECT id
	    FROM {schema}.workflow_workers
	    WHERE expires_at <= {now_ms}
	), orphans AS MATERIALIZED (
	    SELECT run.id
	    FROM dead
	    JOIN {schema}.workflow_runs AS run ON run.owner = dead.id
	    ORDER BY run.id
	    LIMIT 1000
	    FOR NO KEY UPDATE OF run SKIP LOCKED
	)
	UPDATE {schema}.workflow_runs AS run
	SET status = 'pending', owner = NULL, epoch = run.epoch + 1, run_at = {clock_ms}, updated_at = {clock_ms}
	FROM orphans
	WHERE run.id = orphans.id`)

// A dead worker's row stays for an hour, to be seen, and because a row may only go when no claim of that worker can
// still be under way.
var forgetWorkers = define(`
	DELETE FROM {schema}.workflow_workers AS worker
	WHERE expires_at <= {now_ms} - 3600000
	  AND NOT EXISTS (SELECT FROM {schema}.workflow_runs WHERE owner = worker.id)`)

// TakeOver makes the runs of workers whose lease has ended pending, at most 1,000 a call, and returns how many.
func (s *Store) TakeOver(ctx context.Context) (int64, error) {
	taken, err := s.exec(ctx, takeOver)
	if err == nil && taken == 0 {
		_, err = s.exec(ctx, forgetWorkers)
	}
	return taken, problem("take over runs", err)
}
