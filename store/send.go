package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
)

// A session is what sends a statement: the pool, a connection of it, or a transaction.
type session interface {
	sqlx.QueryerContext
	sqlx.ExecerContext
}

// A beginner is a session that transactions can begin on.
type beginner interface {
	session
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

func (s *Store) pool() beginner {
	if s.conn != nil {
		return s.conn
	}
	return s.db
}

// get sends q and scans its only row into dest; sql.ErrNoRows when there is none.
func (s *Store) get(ctx context.Context, dest any, q query, args ...any) error {
	return s.send(ctx, q, func(ctx context.Context, on session, text string) error {
		return sqlx.GetContext(ctx, on, dest, text, args...)
	})
}

// list sends q and scans its rows into the slice that dest points to.
func (s *Store) list(ctx context.Context, dest any, q query, args ...any) error {
	return s.send(ctx, q, func(ctx context.Context, on session, text string) error {
		return sqlx.SelectContext(ctx, on, dest, text, args...)
	})
}

// listText is list for a text that is rendered already, and never sent in a caller's transaction.
func (s *Store) listText(ctx context.Context, dest any, text string, args ...any) error {
	return s.sendText(ctx, text, func(ctx context.Context, on session, text string) error {
		return sqlx.SelectContext(ctx, on, dest, text, args...)
	})
}

// exec sends q and returns the number of rows that it wrote.
func (s *Store) exec(ctx context.Context, q query, args ...any) (int64, error) {
	var written int64
	err := s.send(ctx, q, func(ctx context.Context, on session, text string) error {
		result, err := on.ExecContext(ctx, text, args...)
		if err != nil {
			return err
		}
		written, err = result.RowsAffected()
		return err
	})
	if err != nil { // a call that was left behind may still write to it
		return 0, err
	}
	return written, nil
}

// guarded sends a write whose guard answers with one row when the run exists. Inside a caller's transaction the guard
// skips a row that others have locked: then it waits for that row within the bound, and sends the write again.
func (s *Store) guarded(ctx context.Context, dest any, q query, runID string, args ...any) error {
	return s.guardedBy(ctx, lockRow, dest, q, runID, args...)
}

// guardedBy is guarded with the statement that waits for the row lock that q's guard takes.
func (s *Store) guardedBy(ctx context.Context, wait query, dest any, q query, runID string, args ...any) error {
	args = append([]any{runID}, args...)
	err := s.get(ctx, dest, q, args...)
	if errors.Is(err, sql.ErrNoRows) && s.tx != nil {
		if err = s.waitForRow(ctx, wait, runID); err != nil {
			return err
		}
		err = s.get(ctx, dest, q, args...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return ErrRunNotFound
	}
	return err
}

// send is the one way to the server. In a caller's transaction a statement goes out as it is. Alone, it is bounded in
// time, sent as Options.Statements says, and sent again when the server asks for it.
func (s *Store) send(ctx context.Context, q query, do func(context.Context, session, string) error) error {
	if s.tx != nil {
		return do(ctx, s.tx, s.text.inTx[q])
	}
	return s.sendText(ctx, s.text.alone[q], do)
}

func (s *Store) sendText(ctx context.Context, text string, do func(context.Context, session, string) error) error {
	return s.bounded(ctx, func(ctx context.Context) error {
		return resend(ctx, func() error {
			if s.opts.Statements == Single {
				return do(ctx, s.pool(), text)
			}
			return s.transact(ctx, sql.LevelReadCommitted, func(tx *sqlx.Tx) error {
				return do(ctx, tx, text)
			})
		})
	})
}

// transact is the one place that begins a transaction. It commits when f returns nil and rolls back when f returns an
// error or panics. Our own transactions ask for READ COMMITTED, whatever the application's default: a guard that waited
// for a lock has to see what the holder wrote.
func (s *Store) transact(ctx context.Context, isolation sql.IsolationLevel, f func(*sqlx.Tx) error) error {
	begun := make(chan *sql.Tx, 1)
	err := await(ctx, func() error {
		tx, err := s.pool().BeginTx(ctx, &sql.TxOptions{Isolation: isolation})
		begun <- tx
		return err
	})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	tx := <-begun
	committed := false
	defer func() {
		if !committed {
			leave(tx.Rollback)
		}
	}()
	if err := f(&sqlx.Tx{Tx: tx, Mapper: ours}); err != nil {
		return err
	}
	if err := await(ctx, tx.Commit); err != nil {
		return &commitError{err}
	}
	committed = true
	return nil
}

// commitError says that a transaction may or may not have been committed, unless the server's error inside says more.
type commitError struct{ err error }

func (e *commitError) Error() string { return "commit: " + e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// A driver that honours its context returns well within grace of its end.
const grace = time.Second

// bounded calls f with a context that ends after Options.Timeout, as await does.
func (s *Store) bounded(ctx context.Context, f func(context.Context) error) error {
	if s.opts.Timeout == 0 {
		return await(ctx, func() error { return f(ctx) })
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, timeoutError(s.opts.Timeout))
	defer cancel()
	return await(ctx, func() error { return f(ctx) })
}

// await calls f, which honours ctx if the driver does. When f does not return soon after ctx has ended (lib/pq on a dead
// network), the caller is released and f is left behind: f must not touch anything that the caller uses after an error.
func await(ctx context.Context, f func() error) error {
	if ctx.Done() == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return blame(ctx, err)
	case <-ctx.Done():
	}

	left := time.NewTimer(grace)
	defer left.Stop()
	select {
	case err := <-done:
		return blame(ctx, err)
	case <-left.C:
		return blame(ctx, errors.New("the driver did not return"))
	}
}

// leave calls f, whose outcome does not matter, and returns soon even if f does not: on a dead network a driver may neither
// roll back nor return, and the server ends the transaction with the connection.
func leave(f func() error) {
	ended, end := context.WithCancel(context.Background())
	end()
	_ = await(ended, f)
}

// blame puts the reason why ctx ended into the error that its end caused: drivers report it in their own ways.
func blame(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	why := Why(ctx)
	if errors.Is(err, why) {
		return err
	}
	return fmt.Errorf("%w: %w", why, err)
}

// Why returns why ctx has ended: its error, and its cause if that says more; nil while it has not.
func Why(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

const (
	resends     = 6
	resendPause = 4 * time.Millisecond // doubled each time, then jittered by half
)

// resend calls send until it succeeds or fails for another reason than a serialization failure or a deadlock, both of
// which leave nothing behind.
func resend(ctx context.Context, send func() error) error {
	pause := resendPause
	for n := 0; ; n++ {
		err := send()
		if n == resends || !isTransient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause *= 2
	}
}
