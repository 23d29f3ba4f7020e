package main

import (
	"database/sql"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// The shop's migrations and the library's live side by side, and many processes may start at the same time.
func TestMigrations(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	svc, err := workflow.New(workflow.Config{DB: db, Schema: "example_workflows"})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if err := migrate(t.Context(), db); err != nil {
				t.Error(err)
			}
			if err := svc.Init(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// goose's own first row says that the table was made.
	if diff := cmp.Diff([]int{0, 1, 2}, ints(t, db, "SELECT version_id FROM example_shop.goose_db_version ORDER BY id")); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}

	provider, err := newProvider(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
	if left := ints(t, db, tables, "example_shop"); left[0] != 1 {
		t.Errorf("after Down the shop has %d tables, want goose's alone", left[0])
	}
	if left := ints(t, db, tables, "example_workflows"); left[0] < 3 {
		t.Errorf("the shop's Down left the library %d tables", left[0])
	}
	if err := migrate(t.Context(), db); err != nil {
		t.Errorf("up again: %v", err)
	}
}

func ints(t *testing.T, db *sql.DB, query string, args ...any) (all []int) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
