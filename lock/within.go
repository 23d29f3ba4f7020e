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

// Within runs f in tx with a bound on each wait for a lock, be it a row's, a table's or an advisory one.
// The bound is PostgreSQL's lock_timeout: wait is rounded up to whole milliseconds, at least one and at
// most 2³¹−1 (24 days). It holds for each wait by itself: several in a row may take longer.
//
// f runs inside a savepoint. When it returns nil, its writes stay and the caller's own lock_timeout
// is in force again. When it returns an error, everything it did is undone, locks included, and tx is
// usable. A wait that took too long is returned as ErrTimeout and any other error as it is, so that
// 40001 and 40P01 can be recognized and the whole transaction retried.
//
// The session's statement_timeout, often set for a role, is respected: if it is shorter than wait, f waits for less
// at a time, and is undone and called again until wait is over. So f must act through tx alone. A transaction_timeout
// (PostgreSQL 17) shortens the wait, which then ends before the server would end the session.
//
// Within may be nested. If f panics, the savepoint stays open, and if ctx ends during a statement, the
// driver drops the connection: in both cases tx must be rolled back.
func Within(ctx context.Context, tx *sql.Tx, wait time.Duration, f func(ctx context.Context) error) error {
	own, err := readSettings(ctx, tx)
	if err != nil {
		return fmt.Errorf("lock: read lock_timeout: %w", err)
	}
	wait = own.limit(wait)
	if _, err := tx.ExecContext(ctx, `SAVEPOINT sqlworkflow_within; `+setLockTimeout(own.turn(wait))); err != nil {
		return fmt.Errorf("lock: set lock_timeout: %w", err)
	}
	if err = inTurns(ctx, tx, own, wait, f); err == nil {
		if err = leave(ctx, tx, own.lockTimeout); err == nil {
			return nil
		}
		err = fmt.Errorf("lock: restore lock_timeout: %w", err)
	}
	if undoErr := undo(ctx, tx); undoErr != nil {
		// As text: its SQLSTATE is not the one to go by.
		return fmt.Errorf("%w (the transaction cannot go on: %s)", err, undoErr.Error())
	}
	return err
}

// inTurns calls f again each time it waited for a lock in vain, until wait is over. The caller has set lock_timeout for the
// first turn.
func inTurns(ctx context.Context, tx *sql.Tx, own settings, wait time.Duration, f func(ctx context.Context) error) error {
	begun, turn := time.Now(), own.turn(wait)
	for {
		called := time.Now()
		err := f(ctx)
		if !own.endedWait(ctx, err, time.Since(called)) {
			return err
		}
		left := wait - time.Since(begun)
		if turn >= wait || left <= 0 {
			return fmt.Errorf("%w after %s: %w", ErrTimeout, roundUp(wait), err)
		}
		turn = own.turn(left)
		if _, err := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT sqlworkflow_within; `+setLockTimeout(turn)); err != nil {
			return fmt.Errorf("lock: wait again: %w", err)
		}
	}
}

// None of these statements has arguments, so that several travel in one round trip.

func setLockTimeout(d time.Duration) string {
	return fmt.Sprintf(`SET LOCAL lock_timeout = %d`, roundUp(d).Milliseconds())
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

// roundUp rounds to the milliseconds that lock_timeout is set in: a bound of zero would be none at all.
func roundUp(d time.Duration) time.Duration {
	ms := d.Milliseconds()
	if d%time.Millisecond > 0 {
		ms++
	}
	return time.Duration(min(max(ms, 1), math.MaxInt32)) * time.Millisecond
}

// sqlState returns the SQLSTATE of a driver's error, or "". Both lib/pq and pgx have the method.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}
