package lock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// cleanUp bounds the statement that puts the transaction back in order after ctx has ended.
const cleanUp = 5 * time.Second

// Within runs f under a bound for each wait for a lock, of a row, a table or an advisory lock, in tx.
// The bound is PostgreSQL's lock_timeout: wait is rounded up to milliseconds, of which at least one
// and at most 2³¹−1 (24 days) are used. It holds for every single wait: a chain of them may take longer.
//
// f runs inside a savepoint. When it returns nil its writes stay and the caller's own lock_timeout
// is back in force. When it returns an error everything it did is undone, locks included, and tx is
// usable; then a wait that took too long is returned as ErrTimeout and any other error as it is, so
// that 40001 and 40P01 can be recognised and the whole transaction be tried again.
//
// Within may be nested. If f panics the savepoint stays open, and if ctx ends while a statement is
// under way the driver drops the connection: tx is to be rolled back then.
func Within(ctx context.Context, tx *sql.Tx, wait time.Duration, f func(ctx context.Context) error) error {
	ms := milliseconds(wait)
	old, err := enter(ctx, tx, ms)
	if err != nil {
		return fmt.Errorf("lock: set lock_timeout: %w", err)
	}
	err = f(ctx)
	if err == nil {
		if err = leave(ctx, tx, old); err == nil {
			return nil
		}
		err = fmt.Errorf("lock: restore lock_timeout: %w", err)
	}
	if sqlState(err) == lockNotAvailable {
		err = fmt.Errorf("%w after %s: %w", ErrTimeout, time.Duration(ms)*time.Millisecond, err)
	}
	if undoErr := undo(ctx, tx); undoErr != nil {
		// As text: its SQLSTATE is not the one to go by.
		return fmt.Errorf("%w (the transaction cannot go on: %s)", err, undoErr.Error())
	}
	return err
}

// None of the three has arguments, so that their statements travel together in one round trip.

// enter returns the caller's lock_timeout. It is read before the savepoint, so that a failure leaves nothing open.
func enter(ctx context.Context, tx *sql.Tx, ms int64) (old string, err error) {
	if err := tx.QueryRowContext(ctx, `SELECT current_setting('lock_timeout')`).Scan(&old); err != nil {
		return "", err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf(
		`SAVEPOINT sqlworkflow_within; SET LOCAL lock_timeout = %d`, ms))
	return old, err
}

// leave restores the old value by hand: RELEASE keeps what SET LOCAL did inside the savepoint.
func leave(ctx context.Context, tx *sql.Tx, old string) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf(
		`SET LOCAL lock_timeout = '%s'; RELEASE SAVEPOINT sqlworkflow_within`, strings.ReplaceAll(old, `'`, `''`)))
	return err
}

// undo needs no old value: ROLLBACK TO takes back SET LOCAL too. It runs even if ctx has ended.
func undo(ctx context.Context, tx *sql.Tx) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	_, err := tx.ExecContext(ctx,
		`ROLLBACK TO SAVEPOINT sqlworkflow_within; RELEASE SAVEPOINT sqlworkflow_within`)
	return err
}

// milliseconds rounds up: a bound of zero would be none at all.
func milliseconds(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return min(max(ms, 1), math.MaxInt32)
}

const lockNotAvailable = "55P03"

// sqlState returns the SQLSTATE of a driver's error, or "". Both lib/pq and pgx have the method.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}
