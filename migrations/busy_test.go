package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
	"github.com/sqlworkflow/workflow/migrations"
)

// waiting is true while somebody waits for a lock on the runs.
const waiting = `EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'workflows.workflow_runs'::regclass)`

// A transaction that stays open keeps the migration from its table. The migration gives up in time and says
// who is in the way; others never queue behind it for longer than one of its attempts.
func TestTableIsInUse(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			db := database.Open(t, access)
			up(t, db, schema)
			down(t, db, schema, 1)
			report, pid := openReport(t, database, `SELECT count(*) FROM workflows.workflow_runs`)
			access.Params = map[string]string{"statement_timeout": "400ms"} // the role's, for its queries
			limited := database.Open(t, access)

			done := make(chan error, 1)
			go func() {
				done <- migrations.Up(t.Context(), limited, schema, migrations.WithTableWaits(600*time.Millisecond, 3*time.Second))
			}()
			await(t, db, `SELECT `+waiting)
			kit.One[int](t, db, `SELECT count(*) FROM workflows.workflow_runs`) // would hang behind the migration
			err := <-done
			var state interface{ SQLState() string }
			if !errors.Is(err, lock.ErrTimeout) || !errors.As(err, &state) || state.SQLState() != "55P03" {
				t.Fatalf("Up = %v, want lock.ErrTimeout and 55P03", err)
			}
			for _, want := range []string{"schema workflows", "00003_execution.sql", fmt.Sprintf("pid %d", pid), `"report"`, "idle in transaction, query started 20", "end that transaction"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Up = %v, want %q in it", err, want)
				}
			}
			wantStatus(t, db, 2)

			if err := report.Rollback(); err != nil {
				t.Fatal(err)
			}
			up(t, db, schema)
		})
	}
}

// A transaction that ends in time only delays the migration; so does one that a rollback meets.
func TestTableIsInUseForAWhile(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PGX)
	for name, migrate := range map[string]func() error{
		"down": func() error {
			return migrations.Down(t.Context(), db, schema, 1, migrations.WithTableWaits(300*time.Millisecond, kit.Patience))
		},
		"up": func() error {
			return migrations.Up(t.Context(), db, schema, migrations.WithTableWaits(300*time.Millisecond, kit.Patience))
		},
	} {
		up(t, db, schema)
		if name == "up" {
			down(t, db, schema, 2)
		}
		report, _ := openReport(t, database, `SELECT count(*) FROM workflows.workflow_runs`)
		done := make(chan error, 1)
		go func() { done <- migrate() }()
		for _, condition := range []string{waiting, `NOT ` + waiting, waiting} { // the second attempt waits
			await(t, db, `SELECT `+condition)
		}
		if err := report.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A context that ends first is told with what was waited for.
func TestTableIsInUseTooLong(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		database := pgtest.Empty(t)
		db := database.Open(t, access)
		up(t, db, schema)
		down(t, db, schema, 2)
		_, pid := openReport(t, database, `SELECT count(*) FROM workflows.workflow_runs`)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- migrations.Up(ctx, db, schema, migrations.WithTableWaits(300*time.Millisecond, kit.Patience))
		}()
		for _, condition := range []string{waiting, `NOT ` + waiting, waiting} { // the second attempt waits
			await(t, db, `SELECT `+condition)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", pid)) {
			t.Errorf("Up = %v, want context.Canceled and the process", err)
		}
	}
}

// A role that may not look into the sessions of others is told the process at least.
func TestTableIsInUseByAStranger(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	role := database.Role(t, `DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$`)
	db := role.Open(t, pgtest.PQ)
	up(t, db, schema)
	down(t, db, schema, 1)
	_, pid := openReport(t, database, `SELECT count(*) FROM workflows.workflow_runs`)
	err := migrations.Up(t.Context(), db, schema, migrations.WithTableWaits(50*time.Millisecond, 100*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", pid)) {
		t.Errorf("Up = %v, want the process", err)
	}
}

// Whoever locks the version table keeps Up from looking: for a while, then it says who.
func TestVersionTableIsLocked(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		database := pgtest.New(t)
		_, pid := openReport(t, database, `LOCK TABLE workflows.workflow_migrations`)
		err := migrations.Up(t.Context(), database.Open(t, access), schema, migrations.WithTableWaits(kit.Patience, 300*time.Millisecond))
		if !errors.Is(err, lock.ErrTimeout) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", pid)) {
			t.Errorf("Up = %v, want lock.ErrTimeout and the process", err)
		}
	}
}

// A pool that is used up is told from a table that is in use.
func TestPoolIsUsedUp(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PGX)
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = migrations.Up(t.Context(), db, schema, migrations.WithWaits(kit.Patience, 50*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "no connection of the pool was free") {
		t.Errorf("Up = %v, want a word about the pool", err)
	}
}

// openReport opens a transaction that has executed a statement.
func openReport(t *testing.T, database *pgtest.Database, statement string) (tx *sql.Tx, pid int) {
	t.Helper()
	access := pgtest.PQ
	access.Params = map[string]string{"application_name": "report"}
	tx, err := database.Open(t, access).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	if _, err := tx.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return tx, pid
}
