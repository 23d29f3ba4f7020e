package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// An owned run, locked unless somebody else has locked it: the guard of what its owner does with the run itself.
const ownedRun = `owned AS (
	    SELECT id, epoch, blocked_at
	    FROM {schema}.workflow_runs
	    WHERE id = $1 AND epoch = $2::bigint AND status = 'running'
	), free AS MATERIALIZED (
	    SELECT id
	    FROM {schema}.workflow_runs
	    WHERE id = $1 AND epoch = $2::bigint AND status = 'running'
	    FOR NO KEY UPDATE SKIP LOCKED
	)`

var releaseRun = pg.Define("release_run", `
	WITH `+clockClause+`, `+ownedRun+`, moved AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET status = 'pending', owner = NULL, epoch = run.epoch + 1, run_at = clock.ms + $3::bigint, updated_at = clock.ms
	    FROM clock, free
	    WHERE run.id = free.id
	    RETURNING run.status
	)
	SELECT coalesce((SELECT status FROM moved), '') AS status
	FROM owned`)

// ReleaseRun makes an owned run pending again, to be claimed after a delay. ErrRunLost when it has another owner by now;
// ErrLockTimeout, at once, when a transaction of somebody else holds it.
func (s *Store) ReleaseRun(ctx context.Context, run Owned, delay time.Duration) error {
	_, err := s.giveUp(ctx, releaseRun, run, delay.Milliseconds())
	return pg.Problem(fmt.Sprintf("release run %q", run.RunID), err)
}

// The delay is as long as the run has been blocked: so it doubles. Progress since the run was first blocked starts anew.
var blockRun = pg.Define("block_run", `
	WITH `+clockClause+`, `+ownedRun+`, newest AS (
	    SELECT max(updated_at) AS at
	    FROM {schema}.workflow_steps
	    WHERE run_id = $1
	), since AS (
	    SELECT owned.id, clock.ms,
	           CASE WHEN newest.at >= owned.blocked_at THEN clock.ms ELSE coalesce(owned.blocked_at, clock.ms) END AS at
	    FROM clock, owned, newest
	), moved AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET status = 'suspended', suspended_for = 'blocked', error = $3::jsonb, blocked_at = since.at,
	        owner = NULL, epoch = run.epoch + 1, updated_at = since.ms,
	        run_at = least(since.ms + least(greatest(since.ms - since.at, 1000), 600000), since.at + $4::bigint, run.deadline_at)
	    FROM since, free
	    WHERE run.id = free.id AND since.ms < since.at + $4::bigint
	    RETURNING run.status
	)
	SELECT CASE WHEN since.ms >= since.at + $4::bigint THEN 'expired' ELSE coalesce((SELECT status FROM moved), '') END AS status
	FROM since`)

// BlockRun suspends an owned run that cannot go on as things are, for the reason given, to be tried again after a delay that
// doubles from a second to ten minutes. One that has been blocked for blockedFor, without a new step between, is left to its
// owner, who is to end it: expired. Errors as of [Store.ReleaseRun].
func (s *Store) BlockRun(ctx context.Context, run Owned, why *Error, blockedFor time.Duration) (expired bool, err error) {
	became, err := s.giveUp(ctx, blockRun, run, pg.JSON(encodeError(why)), blockedFor.Milliseconds())
	return became == "expired", pg.Problem(fmt.Sprintf("block run %q", run.RunID), err)
}

// giveUp returns what became of the run.
func (s *Store) giveUp(ctx context.Context, q *pg.Query, run Owned, args ...any) (string, error) {
	var status string
	err := s.db.Get(ctx, &status, q, append([]any{run.RunID, run.Epoch}, args...)...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", ErrRunLost
	case err == nil && status == "":
		return "", ErrLockTimeout
	default:
		return status, err
	}
}
