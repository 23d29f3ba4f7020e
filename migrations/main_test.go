package migrations_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

func TestMain(m *testing.M) { kit.Main(m, child) }

const schema = migrations.DefaultSchema

// accesses are all of them for the full matrix, else one of each driver, one of them pooled.
func accesses() []pgtest.Access {
	all := pgtest.Accesses
	if pgtest.Full() {
		return all
	}
	return []pgtest.Access{all[3], all[2]}
}

func up(t *testing.T, db *sql.DB, schema string, options ...migrations.Option) {
	t.Helper()
	if err := migrations.Up(t.Context(), db, schema, options...); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, db *sql.DB, schema string, version int64) {
	t.Helper()
	if err := migrations.Down(t.Context(), db, schema, version); err != nil {
		t.Fatal(err)
	}
}

// allVersions is what our version table holds when all migrations are applied.
func allVersions() string {
	text := "0"
	for version := range migrations.Latest() { // numbered without gaps
		text += fmt.Sprintf(" %d", version+1)
	}
	return text
}

// wantVersions checks which rows a version table has, 0 being goose's own.
func wantVersions(t *testing.T, db *sql.DB, table, want string) {
	t.Helper()
	got := kit.One[string](t, db, `SELECT string_agg(version_id::text, ' ' ORDER BY id) FROM `+table)
	if got != want {
		t.Errorf("%s has versions %s, want %s", table, got, want)
	}
}

// wantUnchanged runs f and checks that no schema, relation or version came, went or changed.
func wantUnchanged(t *testing.T, db *sql.DB, f func()) {
	t.Helper()
	before := dumpAll(t, db)
	f()
	if diff := cmp.Diff(before, dumpAll(t, db)); diff != "" {
		t.Errorf("the database was changed (-before +after):\n%s", diff)
	}
}

func dumpAll(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, name := range kit.Column[string](t, db,
		`SELECT nspname::text FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'`) {
		all[name] = dump(t, db, name)
	}
	return all
}
