package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
	"github.com/sqlworkflow/workflow/migrations"
)

func TestOneConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PGX)
	db.SetMaxOpenConns(1)
	wantUnchanged(t, db, func() {
		start := time.Now()
		err := migrations.Up(t.Context(), db, schema)
		if err == nil || !strings.Contains(err.Error(), "SetMaxOpenConns(2)") {
			t.Errorf("Up = %v, want it to say what to do", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("Up took %s to find out", took)
		}
	})
	db.SetMaxOpenConns(2)
	up(t, db, schema)
	db.SetMaxOpenConns(1)
	up(t, db, schema) // nothing to do
}

func TestNoSecondConnection(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Empty(t).Open(t, access)
			busy, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer busy.Close()
			db.SetMaxOpenConns(2)
			err = migrations.Up(t.Context(), db, schema, migrations.WithWaits(kit.Patience, time.Second))
			if err == nil || !strings.Contains(err.Error(), "second connection") {
				t.Errorf("Up = %v, want a word about the second connection", err)
			}
		})
	}
}

// Another process that migrates for too long is an error that says so, and so is the end of the context.
func TestLockIsHeldElsewhere(t *testing.T) {
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Empty(t).Open(t, access)
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if err := lock.Acquire(t.Context(), tx, lock.NewKey("sqlworkflow", "", "migrations", "")); err != nil {
				t.Fatal(err)
			}
			wantUnchanged(t, db, func() {
				err := migrations.Up(t.Context(), db, schema, migrations.WithWaits(250*time.Millisecond, kit.Patience))
				if !errors.Is(err, lock.ErrTimeout) {
					t.Errorf("Up = %v, want lock.ErrTimeout", err)
				}
				const waits = "migrate schema workflows: wait for the migration lock"
				for d := 250 * time.Millisecond; d < kit.Patience; d *= 4 { // a busy machine does not come to it at first
					ctx, cancel := context.WithTimeout(t.Context(), d)
					err = migrations.Up(ctx, db, schema)
					cancel()
					if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), waits) {
						break
					}
				}
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), waits) {
					t.Errorf("Up = %v, want context.DeadlineExceeded and what it waited for", err)
				}
			})
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			up(t, db, schema)
		})
	}
}

// No limit of the server on idle transactions ends the lock while the migrations run.
func TestLockOutlivesIdleTimeout(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	admin := database.Open(t, pgtest.PQ)
	up(t, admin, schema)
	down(t, admin, schema, 1)
	kit.Exec(t, admin, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = ''100ms''', current_database()); END $$`)
	tx, err := admin.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), `LOCK TABLE workflows.workflow_runs`); err != nil { // the migration waits for it
		t.Fatal(err)
	}
	done := make(chan error, 1)
	db := database.Open(t, pgtest.PQ)
	go func() { done <- migrations.Up(t.Context(), db, schema) }()
	await(t, admin, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'workflows.workflow_runs'::regclass)`)
	await(t, admin, `
SELECT EXISTS (SELECT FROM pg_locks
               JOIN pg_stat_activity AS holder USING (pid)
               WHERE locktype = 'advisory' AND granted AND datname = current_database()
                 AND clock_timestamp() - state_change > interval '300 ms')`) // longer than the limit
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// await waits until a query returns true.
func await(t *testing.T, db *sql.DB, condition string) {
	t.Helper()
	kit.Until(t, condition, func() bool { return kit.One[bool](t, db, condition) })
}

// pgx's default mode fails behind a PgBouncer before 1.21, soon if not at once; the error names the setting.
func TestOldPooler(t *testing.T) {
	t.Parallel()
	access, old := pgtest.PgxDefaultPooled()
	database := pgtest.New(t)
	var failed error
	for range 20 {
		if err := migrations.Up(t.Context(), database.Open(t, access), schema); err != nil {
			failed = err
			break
		}
	}
	switch {
	case old && (failed == nil || !strings.Contains(failed.Error(), "default_query_exec_mode=exec")):
		t.Errorf("Up = %v, want an error that says what to do", failed)
	case !old && failed != nil:
		t.Errorf("Up = %v", failed)
	}
}
