package lock_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
)

// setInDatabase makes a setting the default of the sessions that begin after it.
func setInDatabase(t *testing.T, db *sql.DB, setting string) {
	t.Helper()
	kit.Exec(t, db, `DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET `+setting+`', current_database()); END $do$`)
}

// perBound runs f with pools whose sessions have bounds of their own, as a role or database often gives them.
func perBound(t *testing.T, f func(t *testing.T, free, bounded *sql.DB)) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		for _, setting := range []string{"statement_timeout = ''500ms''", "lock_timeout = ''60ms''"} {
			t.Run(access.Name+", "+setting, func(t *testing.T) {
				t.Parallel()
				database := pgtest.Empty(t)
				free := database.Open(t, access)
				kit.Exec(t, free, `CREATE TABLE rows (id int PRIMARY KEY, note text); INSERT INTO rows VALUES (1, 'first')`)
				setInDatabase(t, free, setting)
				f(t, free, database.Open(t, access))
			})
		}
	}
}

// A wait that is longer than the session's own bounds ends in ErrTimeout, not before its time, and the transaction goes on.
func TestWaitIsLongerThanTheSessionsBounds(t *testing.T) {
	perBound(t, func(t *testing.T, free, bounded *sql.DB) {
		holder, tx := kit.Begin(t, free), kit.Begin(t, bounded)
		kit.Must(t, lock.Acquire(t.Context(), holder, key))
		kit.Exec(t, holder, `SELECT FROM rows FOR UPDATE`)
		kit.Exec(t, tx, `INSERT INTO rows VALUES (2, 'caller')`)
		settings := `SELECT current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')`
		before := kit.One[string](t, tx, settings)

		const wait = 1300 * time.Millisecond
		for name, waiting := range map[string]func() error{
			"AcquireWithin": func() error { return lock.AcquireWithin(t.Context(), tx, key, wait) },
			"Within": func() error {
				return lock.Within(t.Context(), tx, wait, func(ctx context.Context) error {
					kit.Exec(t, tx, `INSERT INTO rows VALUES (3, 'f')`)
					_, err := tx.ExecContext(ctx, `UPDATE rows SET note = 'changed' WHERE id = 1`)
					return err
				})
			},
		} {
			start := time.Now()
			if err := waiting(); !errors.Is(err, lock.ErrTimeout) {
				t.Errorf("%s = %v, want ErrTimeout", name, err)
			}
			if took := time.Since(start); took < wait || took > kit.Patience/2 {
				t.Errorf("%s gave up after %s, want %s", name, took, wait)
			}
		}
		if got := kit.One[string](t, tx, settings); got != before {
			t.Errorf("lock_timeout and statement_timeout are %s afterwards, want %s", got, before)
		}
		kit.Must(t, tx.Commit())
		if got := kit.One[string](t, free, `SELECT string_agg(note, ' ' ORDER BY id) FROM rows`); got != "first caller" {
			t.Errorf("rows %q, want those of the caller only", got)
		}
	})
}

// What is waited for in several turns is had in one of them.
func TestWaitInTurnsSucceeds(t *testing.T) {
	perBound(t, func(t *testing.T, free, bounded *sql.DB) {
		holder, tx := kit.Begin(t, free), kit.Begin(t, bounded)
		kit.Exec(t, holder, `SELECT FROM rows FOR UPDATE`)
		again := make(chan struct{}, 100)
		got := kit.Go(t, func() error {
			return lock.Within(t.Context(), tx, kit.Patience, func(ctx context.Context) error {
				again <- struct{}{}
				_, err := tx.ExecContext(ctx, `INSERT INTO rows SELECT 2, 'f' FROM rows WHERE id = 1 FOR UPDATE`)
				return err
			})
		})
		kit.Receive(t, "the first turn", again)
		if kit.One[string](t, bounded, `SHOW statement_timeout`) != "0" { // else one turn is enough
			kit.Receive(t, "the second turn", again)
			kit.Receive(t, "the third turn", again)
		}
		kit.Must(t, holder.Commit())
		kit.Must(t, kit.Receive(t, "the lock", got))
		kit.Must(t, tx.Commit())
		if n := kit.One[int](t, free, `SELECT count(*) FROM rows`); n != 2 {
			t.Errorf("%d rows, want the write of f once", n)
		}
	})
}

// A statement that waits when half of its time is gone, as the second of two waits for a row does, meets statement_timeout.
func TestStatementTimeoutWhileWaiting(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		holder, tx := kit.Begin(t, db), kit.Begin(t, db)
		kit.Must(t, lock.Acquire(t.Context(), holder, key))
		kit.Exec(t, tx, `SET LOCAL statement_timeout = '400ms'`)
		var first string
		err := lock.Within(t.Context(), tx, time.Second, func(ctx context.Context) error {
			_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1) FROM pg_sleep(0.2)`, int64(key))
			if first == "" {
				first = kit.SQLState(err)
			}
			return err
		})
		if !errors.Is(err, lock.ErrTimeout) || first != "57014" {
			t.Errorf("Within = %v after %s at first, want ErrTimeout after 57014", err, first)
		}
		kit.One[int](t, tx, `SELECT 1`)
	})
}

// What ends for another reason is not taken for the end of a wait.
func TestCancelledStatementIsNoTimeout(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		tx := kit.Begin(t, db)
		pid := kit.One[int](t, tx, `SELECT pg_backend_pid()`)
		kit.Exec(t, tx, `SET LOCAL statement_timeout = '1h'`)
		got := kit.Go(t, func() error {
			return lock.Within(t.Context(), tx, kit.Patience, func(ctx context.Context) error {
				_, err := tx.ExecContext(ctx, `SELECT pg_sleep(600)`)
				return err
			})
		})
		kit.Until(t, "it sleeps and is cancelled", func() bool {
			return kit.One[bool](t, db, `SELECT coalesce(bool_or(pg_cancel_backend(pid)), false) FROM pg_stat_activity
				WHERE pid = $1 AND wait_event = 'PgSleep'`, pid)
		})
		if err := kit.Receive(t, "the end", got); kit.SQLState(err) != "57014" || errors.Is(err, lock.ErrTimeout) {
			t.Errorf("Within = %v, want 57014", err)
		}
		kit.One[int](t, tx, `SELECT 1`)
	})
}

// Past its transaction_timeout the server ends the session, so a wait ends before.
func TestTransactionTimeout(t *testing.T) {
	t.Parallel()
	if pgtest.MajorVersion(t) < 17 {
		t.Skip("NOT RUN: transaction_timeout: it came with PostgreSQL 17")
	}
	database := pgtest.Empty(t)
	free := database.Open(t, pgtest.PGX)
	setInDatabase(t, free, "transaction_timeout = ''4s''")
	holder, tx := kit.Begin(t, free), kit.Begin(t, database.Open(t, pgtest.PQ))
	kit.Must(t, lock.Acquire(t.Context(), holder, key))
	if err := lock.AcquireWithin(t.Context(), tx, key, kit.Patience); !errors.Is(err, lock.ErrTimeout) {
		t.Errorf("AcquireWithin = %v, want ErrTimeout", err)
	}
	kit.One[int](t, tx, `SELECT 1`)
}
