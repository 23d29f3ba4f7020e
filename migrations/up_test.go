package migrations_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
	"github.com/sqlworkflow/workflow/migrations"
)

// Several schemas in one process, at once, whatever its environment says: each gets its own tables.
func TestSeveralSchemas(t *testing.T) {
	t.Setenv("WORKFLOW_SCHEMA", "from_environment") // what the goose command goes by
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			db := pgtest.Empty(t).Open(t, access)
			names := []string{schema, "one", "two", "one", "two"}
			var wg sync.WaitGroup
			for _, name := range names {
				wg.Go(func() {
					if err := migrations.Up(t.Context(), db, name); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			down(t, db, "two", 0)
			for _, name := range names[:2] {
				wantVersions(t, db, name+".goose_db_version", allVersions())
				if got := strings.ReplaceAll(dumpTables(t, db, name), name+".", schema+".") + "\n"; got != goldenSchema(t) {
					t.Errorf("schema %s:\n%s", name, got)
				}
			}
			if query[bool](t, db, `SELECT to_regnamespace('from_environment') IS NOT NULL`) {
				t.Error("the environment was followed")
			}
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Empty(t).Open(t, access)
			wantUnchanged(t, db, func() { wantStatus(t, db, 0) })
			before := time.Now().Add(-patience)
			up(t, db, schema)
			wantStatus(t, db, migrations.Latest())
			all, err := migrations.Status(t.Context(), db, schema)
			if err != nil {
				t.Fatal(err)
			}
			if at := all[0].AppliedAt; at.Before(before) || at.After(time.Now().Add(patience)) {
				t.Errorf("applied at %s, want now", at)
			}
			down(t, db, schema, 1)
			wantStatus(t, db, 1)
		})
	}
}

// wantStatus checks that the migrations up to version are applied and the rest pending.
func wantStatus(t *testing.T, db *sql.DB, version int64) {
	t.Helper()
	all, err := migrations.Status(t.Context(), db, schema)
	if err != nil || len(all) != int(migrations.Latest()) {
		t.Fatalf("Status = %v, %v, want %d migrations", all, err, migrations.Latest())
	}
	for i, m := range all {
		applied := m.Version <= version
		if m.Version != int64(i+1) || !strings.HasPrefix(m.Name, fmt.Sprintf("%05d_", m.Version)) ||
			m.Applied != applied || m.AppliedAt.IsZero() == applied {
			t.Errorf("at version %d: %+v", version, m)
		}
	}
}

// The zone of the session that reads is the best guess for the zone of the one that wrote.
func TestStatusInAnotherZone(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	admin := database.Open(t, pgtest.PQ)
	execute(t, admin, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''', current_database()); END $$`)
	db := database.Open(t, pgtest.PQ)
	up(t, db, schema)
	all, err := migrations.Status(t.Context(), db, schema)
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(all[0].AppliedAt); age < -patience || age > patience {
		t.Errorf("applied %s ago", age)
	}
}

func TestOneConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PGX)
	db.SetMaxOpenConns(1)
	wantUnchanged(t, db, func() {
		start := time.Now()
		err := migrations.Up(t.Context(), db, schema)
		if err == nil || !strings.Contains(err.Error(), "SetMaxOpenConns(2)") {
			t.Errorf("Up = %v, want the mend", err)
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
			err = migrations.Up(t.Context(), db, schema, migrations.WithWaits(patience, 50*time.Millisecond))
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
				err := migrations.Up(t.Context(), db, schema, migrations.WithWaits(250*time.Millisecond, patience))
				if !errors.Is(err, lock.ErrTimeout) {
					t.Errorf("Up = %v, want lock.ErrTimeout", err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
				defer cancel()
				err = migrations.Up(ctx, db, schema)
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "migrate schema workflows: wait for the migration lock") {
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
	execute(t, admin, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = ''100ms''', current_database()); END $$`)
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
	time.Sleep(300 * time.Millisecond) // longer than the limit
	if !query[bool](t, admin, `
SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database AND datname = current_database()
               WHERE locktype = 'advisory' AND granted)`) {
		t.Error("the migration lock is gone while a migration runs")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func await(t *testing.T, db *sql.DB, condition string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !query[bool](t, db, condition); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", condition)
		}
	}
}

// A rollback of the application must be able to start on the schema of the newer release, up to the mark.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PQ)
	newer := migrations.Latest() + 1
	execute(t, db, fmt.Sprintf(`INSERT INTO workflows.goose_db_version (version_id, is_applied) VALUES (%d, true)`, newer))
	wantUnchanged(t, db, func() {
		var log bytes.Buffer
		up(t, db, schema, migrations.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if line := log.String(); !strings.Contains(line, "level=WARN") || !strings.Contains(line, fmt.Sprintf("version=%d", newer)) {
			t.Errorf("log = %q, want a warning with the version", line)
		}
		all, err := migrations.Status(t.Context(), db, schema)
		if err != nil {
			t.Fatal(err)
		}
		if last := all[len(all)-1]; last.Version != newer || last.Name != "" || !last.Applied {
			t.Errorf("Status ends with %+v, want the unknown version %d", last, newer)
		}
		if err := migrations.Down(t.Context(), db, schema, 0); err == nil || !strings.Contains(err.Error(), "unknown to this release") {
			t.Errorf("Down = %v, want a refusal", err)
		}
	})
	execute(t, db, fmt.Sprintf(`UPDATE workflows.workflow_schema SET needs_version = %d`, newer))
	wantUnchanged(t, db, func() {
		if err := migrations.Up(t.Context(), db, schema); !errors.Is(err, migrations.ErrSchemaTooNew) {
			t.Errorf("Up = %v, want ErrSchemaTooNew", err)
		}
	})
}

func TestLogger(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	up(t, db, schema, migrations.WithLogger(logger))
	if got := strings.Count(log.String(), "level=INFO msg=migrated"); got != int(migrations.Latest()) {
		t.Errorf("%d migrations were logged, want %d:\n%s", got, migrations.Latest(), &log)
	}
	log.Reset()
	up(t, db, schema, migrations.WithLogger(logger), migrations.WithLogger(nil))
	if log.Len() > 0 {
		t.Errorf("log of an up-to-date schema = %s", &log)
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PGX)
	wantUnchanged(t, db, func() { down(t, db, schema, 0) }) // nothing there
	up(t, db, schema)
	wantUnchanged(t, db, func() {
		down(t, db, schema, migrations.Latest())
		for _, version := range []int64{-1, migrations.Latest() + 1} {
			if err := migrations.Down(t.Context(), db, schema, version); err == nil {
				t.Errorf("Down to %d succeeds", version)
			}
		}
	})
	execute(t, db, `CREATE TABLE workflows.theirs (id int)`)
	down(t, db, schema, 0)
	if got := dumpTables(t, db, schema); !strings.HasPrefix(got, "table theirs") || strings.Contains(got, "workflow_") {
		t.Errorf("Down to 0 leaves %s, want what is not ours", got)
	}
	for _, name := range []string{"", "user", "a;b"} {
		if migrations.Up(t.Context(), db, name) == nil || migrations.Down(t.Context(), db, name, 0) == nil {
			t.Errorf("schema %q is accepted", name)
		}
		if _, err := migrations.Status(t.Context(), db, name); err == nil {
			t.Errorf("Status of schema %q is accepted", name)
		}
	}
}
