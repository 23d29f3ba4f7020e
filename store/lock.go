package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/lock"
)

// lockNamespace keeps our advisory locks apart from those of the application.
const lockNamespace = "sqlworkflow"

// WithRunLock calls f with a store bound to a transaction that holds the run's lock: the advisory lock, then the run's
// row, so that state writes that do not take the advisory lock wait as well. What f writes commits with the release of
// the lock, or rolls back when f returns an error or panics. On a store that is bound already the lock joins its
// transaction and is held until that ends; an error of f then rolls back to where f began.
//
// ErrRunNotFound; ErrLockTimeout after Options.LockTimeout for each of the two.
func (s *Store) WithRunLock(ctx context.Context, id string, f func(context.Context, *Store) error) error {
	section := s.ownSection
	if s.db.Tx() != nil {
		section = s.joinedSection
	}
	return section(ctx, id, f)
}

// ownSection begins the transaction. The way to the lock and the commit are bounded, f is not.
func (s *Store) ownSection(ctx context.Context, id string, f func(context.Context, *Store) error) error {
	op := fmt.Sprintf("lock run %q", id)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := s.opts.Timeout + s.opts.LockTimeout
	bound := time.AfterFunc(limit, func() { cancel(pg.Timeout(limit)) })
	defer bound.Stop()

	var outcome error // of f, which is the caller's and not wrapped
	err := s.db.Transact(ctx, sql.LevelReadCommitted, func(tx *pg.DB) error {
		joined := s.on(tx)
		if err := pg.Await(ctx, func() error { return joined.lockRun(ctx, id) }); err != nil {
			return err
		}
		bound.Stop()
		outcome = f(ctx, joined)
		bound.Reset(s.opts.Timeout) // for the commit
		return outcome
	})
	if outcome != nil {
		return outcome
	}
	return pg.Problem(op, pg.Blame(ctx, err))
}

func (s *Store) joinedSection(ctx context.Context, id string, f func(context.Context, *Store) error) (err error) {
	op := fmt.Sprintf("lock run %q", id)
	if _, err := s.db.Tx().ExecContext(ctx, "SAVEPOINT sqlworkflow_section"); err != nil {
		return pg.Problem(op, err)
	}
	done := false
	defer func() {
		if done {
			return
		}
		// f failed or panicked: its writes go, the caller's stay.
		undo := context.WithoutCancel(ctx)
		_, undone := s.db.Tx().ExecContext(undo, "ROLLBACK TO SAVEPOINT sqlworkflow_section")
		if undone == nil {
			_, undone = s.db.Tx().ExecContext(undo, "RELEASE SAVEPOINT sqlworkflow_section")
		}
		if undone != nil {
			err = errors.Join(err, pg.Problem(op, undone))
		}
	}()

	if err := s.lockRun(ctx, id); err != nil {
		return pg.Problem(op, err)
	}
	if err := f(ctx, s); err != nil {
		return err
	}
	if _, err := s.db.Tx().ExecContext(ctx, "RELEASE SAVEPOINT sqlworkflow_section"); err != nil {
		return pg.Problem(op, err)
	}
	done = true
	return nil
}

// lockRun takes the advisory lock, then the row: two statements, because one that waits for a lock reads other rows as
// they were before it.
func (s *Store) lockRun(ctx context.Context, id string) error {
	key := lock.NewKey(lockNamespace, s.opts.Schema, "run", id)
	if err := lock.AcquireWithin(ctx, s.db.Tx(), key, s.opts.LockTimeout); err != nil {
		return err
	}
	var locked string
	err := s.db.Get(ctx, &locked, lockFreeRow, id)
	if errors.Is(err, sql.ErrNoRows) {
		return s.waitForRow(ctx, lockRow, id)
	}
	return err
}

var lockFreeRow = pg.Define("lock_free_row", `
	SELECT id
	FROM {schema}.workflow_runs
	WHERE id = $1
	FOR NO KEY UPDATE SKIP LOCKED`)

var lockRow = pg.Define("lock_row", `
	SELECT id
	FROM {schema}.workflow_runs
	WHERE id = $1
	FOR NO KEY UPDATE`)

// waitForRow locks the run's row for the rest of the transaction, waiting for others within Options.LockTimeout;
// ErrRunNotFound when there is none. A time-out leaves the transaction usable.
func (s *Store) waitForRow(ctx context.Context, q *pg.Query, id string) error {
	return lock.Within(ctx, s.db.Tx(), s.opts.LockTimeout, func(ctx context.Context) error {
		var locked string
		err := s.db.Get(ctx, &locked, q, id)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrRunNotFound
		}
		return err
	})
}
