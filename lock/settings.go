package lock

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// settings are the session's own bounds.
type settings struct {
	lockTimeout string        // as PostgreSQL writes it
	statement   time.Duration // statement_timeout; 0 is none
	transaction time.Duration // what is left of transaction_timeout; 0 is none
}

// PostgreSQL shows such a setting in the unit that suits it (0, 1500ms, 2min), which interval reads.
const selectSettings = `
SELECT current_setting('lock_timeout'),
       extract(epoch FROM current_setting('statement_timeout')::interval)::float8,
       coalesce(extract(epoch FROM nullif(current_setting('transaction_timeout', true), '0')::interval
                                   - (clock_timestamp() - now())), 0)::float8`

// readSettings reads them before the savepoint, so that a failure leaves nothing open.
func readSettings(ctx context.Context, tx *sql.Tx) (s settings, err error) {
	var statement, transaction float64
	err = tx.QueryRowContext(ctx, selectSettings).Scan(&s.lockTimeout, &statement, &transaction)
	s.statement = time.Duration(statement * float64(time.Second))
	s.transaction = time.Duration(transaction * float64(time.Second))
	return s, err
}

// limit returns how much of wait may be used in all. A quarter of the time that the transaction has left is kept for
// finishing it, because the server ends the session when that time is up.
func (s settings) limit(wait time.Duration) time.Duration {
	if s.transaction == 0 {
		return wait
	}
	return min(wait, s.transaction*3/4)
}

// turn returns how much of wait may be used at a time. A quarter of statement_timeout is kept for the statement's own
// work, because the server aborts it, and the transaction with it, when that time is up.
func (s settings) turn(wait time.Duration) time.Duration {
	if s.statement == 0 {
		return wait
	}
	return min(wait, s.statement*3/4)
}

const (
	lockNotAvailable = "55P03"
	queryCanceled    = "57014"
)

// endedWait reports whether err means that a lock was not free in time. A statement that waits twice, as for a row for which
// others are queueing, can exceed statement_timeout although each of its waits is shorter. ErrTimeout comes from a nested
// call, which has done its waiting.
func (s settings) endedWait(ctx context.Context, err error, took time.Duration) bool {
	if err == nil || errors.Is(err, ErrTimeout) {
		return false
	}
	switch sqlState(err) {
	case lockNotAvailable:
		return true
	case queryCanceled:
		return s.statement > 0 && took >= s.statement && ctx.Err() == nil
	default:
		return false
	}
}
