package migrations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

// Tables that are not those of the migrations are told apart before anything is changed.
func TestDrift(t *testing.T) {
	t.Parallel()
	const allColumns = `CREATE TABLE workflows.workflow_runs (id text, workflow text, status text, input jsonb, output jsonb, error jsonb, created_at bigint, updated_at bigint)`
	tests := map[string]struct {
		from  int64 // version before
		drift string
		want  []string
	}{
		"a foreign table on an empty database": {-1,
			`CREATE SCHEMA workflows; CREATE TABLE workflows.workflow_runs (id int, status text)`,
			[]string{"workflows.workflow_runs exists before migration 1", "lacks columns workflow, input, output, error, created_at, updated_at"}},
		"a foreign table with our columns": {-1,
			`CREATE SCHEMA workflows; ` + allColumns,
			[]string{"workflows.workflow_runs exists before migration 1"}},
		"a foreign table of a later migration": {-1,
			`CREATE SCHEMA workflows; CREATE TABLE workflows.workflow_workers (id text)`,
			[]string{"workflows.workflow_workers exists before migration 2", "lacks columns expires_at, started_at"}},
		"a view after a rollback": {0,
			`CREATE VIEW workflows.workflow_steps AS SELECT 1 AS id`,
			[]string{"workflows.workflow_steps exists before migration 1"}},
		"a sequence half way": {1,
			`CREATE SEQUENCE workflows.workflow_workers`,
			[]string{"workflows.workflow_workers exists before migration 2"}},
		"a column lost half way": {1,
			`ALTER TABLE workflows.workflow_runs DROP COLUMN input`,
			[]string{"workflows.workflow_runs lacks column input, though migration 1 is recorded"}},
		"a column lost": {3,
			`ALTER TABLE workflows.workflow_runs DROP COLUMN epoch; ALTER TABLE workflows.workflow_steps RENAME error TO problem`,
			[]string{"workflows.workflow_runs lacks column epoch", "workflows.workflow_steps lacks column error"}},
		"a table lost": {3,
			`DROP TABLE workflows.workflow_steps`,
			[]string{"workflows.workflow_steps is missing, though migration 1 is recorded"}},
		"the versions lost": {3,
			`DELETE FROM workflows.workflow_migrations WHERE version_id > 0`,
			[]string{"workflows.workflow_runs exists before migration 1"}},
		"the version table lost": {3,
			`DROP TABLE workflows.workflow_migrations`,
			[]string{"workflows.workflow_runs exists before migration 1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Empty(t).Open(t, pgtest.PQ)
			if test.from >= 0 {
				up(t, db, schema)
				down(t, db, schema, test.from)
			}
			kit.Exec(t, db, test.drift)
			wantUnchanged(t, db, func() {
				err := migrations.Up(t.Context(), db, schema)
				if !errors.Is(err, migrations.ErrDrift) {
					t.Fatalf("Up = %v, want ErrDrift", err)
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("Up = %v, want %q in it", err, want)
					}
				}
			})
		})
	}
}

// A migration that fails half way is undone as a whole, and named; those before it stay.
func TestFailingMigration(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PGX)
	up(t, db, schema)
	down(t, db, schema, 2)
	kit.Exec(t, db, `ALTER TABLE workflows.workflow_runs ADD COLUMN epoch int`) // migration 3 adds it too
	wantUnchanged(t, db, func() {
		err := migrations.Up(t.Context(), db, schema)
		var state interface{ SQLState() string }
		if !errors.As(err, &state) || state.SQLState() != "42701" || !strings.Contains(err.Error(), "00003_execution.sql") {
			t.Errorf("Up = %v, want 42701 and the file", err)
		}
	})
}
