package pgtest_test

import (
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// TestMain also shows that pgtest leaves no goroutine in the tests of others, which look for their own.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAccesses(t *testing.T) {
	t.Parallel()
	for _, a := range pgtest.Accesses {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t).Open(t, a)
			runs := kit.One[int](t, db, "SELECT count(*) FROM workflows.workflow_runs WHERE id <> $1", "none")
			if runs != 0 {
				t.Errorf("%d runs in a fresh database", runs)
			}
		})
	}
}

func TestPoolerSharesServers(t *testing.T) {
	t.Parallel()
	a := pgtest.PQBinary
	a.Pooled = true
	db := pgtest.Empty(t).Open(t, a)
	const clients = 12
	var mu sync.Mutex
	servers := map[int]int{}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			var pid int
			err := db.QueryRowContext(t.Context(), "SELECT pg_backend_pid() FROM pg_sleep($1)", 0.02).Scan(&pid)
			mu.Lock()
			defer mu.Unlock()
			if servers[pid]++; err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(servers) >= clients/2 {
		t.Errorf("%d clients had %d servers: they do not share", clients, len(servers))
	}
}

func TestPgxDefaultThroughOldPooler(t *testing.T) {
	t.Parallel()
	a, old := pgtest.PgxDefaultPooled()
	u := pgtest.Empty(t).AccessURL(t, a)
	db, err := sql.Open(a.Driver, u)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range 12 { // more than the pooler has servers: a statement is prepared on one and missed on another
		wg.Go(func() {
			for i := range 10 {
				var n int
				if err := db.QueryRowContext(t.Context(), "SELECT $1::int", i).Scan(&n); err != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() != old {
		t.Errorf("pgx's default mode failed: %t, but the pooler is old: %t", failed.Load(), old)
	}
}

func TestDatabasesAreApartAndDropped(t *testing.T) {
	t.Parallel()
	outside := pgtest.Empty(t).Open(t, pgtest.PQ)
	var names []string
	t.Run("inside", func(t *testing.T) {
		for range 2 {
			db := pgtest.New(t).Open(t, pgtest.PGX)
			names = append(names, kit.One[string](t, db, "SELECT current_database()"))
		}
		for _, name := range names {
			if n := kit.One[int](t, outside, "SELECT count(*) FROM pg_database WHERE datname = $1", name); n != 1 {
				t.Errorf("%s is not there", name)
			}
		}
	})
	if names[0] == names[1] {
		t.Error("two tests share a database")
	}
	for _, name := range names {
		if n := kit.One[int](t, outside, "SELECT count(*) FROM pg_database WHERE datname = $1", name); n != 0 {
			t.Errorf("%s was not dropped", name)
		}
	}
}

func TestRole(t *testing.T) {
	t.Parallel()
	d := pgtest.New(t)
	outside := d.Open(t, pgtest.PQ)
	var name string
	t.Run("inside", func(t *testing.T) {
		db := d.Role(t, "GRANT USAGE ON SCHEMA workflows TO {role}", "GRANT SELECT ON workflows.workflow_runs TO {role}").Open(t, pgtest.PGX)
		name = kit.One[string](t, db, "SELECT current_user")
		kit.One[int](t, db, "SELECT count(*) FROM workflows.workflow_runs")
		_, err := db.ExecContext(t.Context(), "CREATE TABLE workflows.mine ()")
		var state interface{ SQLState() string }
		if !errors.As(err, &state) || state.SQLState() != "42501" {
			t.Errorf("create table: %v, want 42501 insufficient_privilege", err)
		}
	})
	if kit.One[int](t, outside, "SELECT count(*) FROM pg_roles WHERE rolname = $1", name) != 0 {
		t.Errorf("role %s was not dropped", name)
	}
}

func TestMajorVersion(t *testing.T) {
	t.Parallel()
	if v := pgtest.MajorVersion(t); v < 14 {
		t.Errorf("major version = %d", v)
	}
}
