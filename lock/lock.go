package lock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Errors that a caller may want to tell apart with errors.Is. Everything else is the driver's error,
// wrapped: errors.As still finds serialization failures (40001) and deadlocks (40P01).
var (
	// ErrTimeout is returned when a lock was not free within the time given. The transaction is usable.
	ErrTimeout = errors.New("lock: timeout")

	// ErrStandby is returned on a server in recovery: a lock taken there excludes nobody.
	ErrStandby = errors.New("lock: the server is a standby, where advisory locks exclude nobody")
)

// CASE guards the lock function: on a standby it would succeed. The argument is cast because the
// function has a second form that takes two integers, and drivers must not have to guess.
const acquire = `
SELECT CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_advisory_xact_lock($1::bigint) IS NOT NULL END`

// Acquire takes the lock and holds it until tx ends. It waits for as long as ctx allows; when ctx ends
// first, the error matches ctx.Err() and tx must be rolled back.
//
// The session's lock_timeout or statement_timeout also ends the wait, with the server's error (55P03 or 57014), after
// which tx must be rolled back too.
//
// The bound is only as good as the driver: lib/pq does not give up on a server that has stopped answering.
func Acquire(ctx context.Context, tx *sql.Tx, key Key) error {
	if _, err := query(ctx, tx, acquire, key); err != nil {
		return fmt.Errorf("lock: acquire %s: %w", key, err)
	}
	return nil
}

const tryAcquire = `
SELECT CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_try_advisory_xact_lock($1::bigint) END`

// TryAcquire takes the lock if it is free and reports whether it did. It never waits for the lock.
func TryAcquire(ctx context.Context, tx *sql.Tx, key Key) (bool, error) {
	ok, err := query(ctx, tx, tryAcquire, key)
	if err != nil {
		return false, fmt.Errorf("lock: try %s: %w", key, err)
	}
	return ok, nil
}

// AcquireWithin is [Acquire] with a bound: after wait (see [Within] for its grain) it returns
// ErrTimeout and tx is as before, whatever lock_timeout or statement_timeout the session has. A free lock costs one
// round trip, one that must be waited for at least four more.
func AcquireWithin(ctx context.Context, tx *sql.Tx, key Key, wait time.Duration) error {
	ok, err := TryAcquire(ctx, tx, key)
	if err != nil || ok {
		return err
	}
	return Within(ctx, tx, wait, func(ctx context.Context) error {
		return Acquire(ctx, tx, key)
	})
}

// query runs one of the two statements; NULL is a standby's answer.
func query(ctx context.Context, tx *sql.Tx, statement string, key Key) (bool, error) {
	var ok sql.NullBool
	if err := tx.QueryRowContext(ctx, statement, int64(key)).Scan(&ok); err != nil {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			return false, fmt.Errorf("%w: %w", ctx.Err(), err) // lib/pq reports the server's view only: 57014
		}
		return false, err
	}
	if !ok.Valid {
		return false, ErrStandby
	}
	return ok.Bool, nil
}
