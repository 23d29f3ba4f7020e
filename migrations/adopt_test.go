package migrations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

// byHand makes the documented tables as somebody would who has only read about them.
const byHand = `
CREATE SCHEMA workflows;
CREATE TABLE workflows.workflow_runs (
    id TEXT PRIMARY KEY, workflow TEXT NOT NULL, status TEXT NOT NULL, input JSONB NOT NULL, output JSONB, error JSONB,
    created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE TABLE workflows.workflow_steps (
    run_id TEXT NOT NULL, step_name TEXT NOT NULL, status TEXT NOT NULL, result JSONB, error JSONB, updated_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, step_name)
);
INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
VALUES ('p', 'w', 'pending', '{}', 5, 7), ('s', 'w', 'suspended', '{}', 5, 7), ('c', 'w', 'completed', '{}', 5, 7);
INSERT INTO workflows.workflow_steps (run_id, step_name, status, updated_at) VALUES ('p', 'one', 'scheduled', 7);
`

const documentedKey = `ALTER TABLE workflows.workflow_steps ADD FOREIGN KEY (run_id) REFERENCES workflows.workflow_runs (id) ON DELETE CASCADE`

// Adopted tables are afterwards the same as migrated ones, with the rows that they had.
func TestAdopt(t *testing.T) {
	t.Parallel()
	for name, tables := range map[string]string{
		"by hand":                   byHand,
		"by hand with foreign key":  byHand + documentedKey,
		"with a check":              byHand + `ALTER TABLE workflows.workflow_steps ADD CHECK (status IN ('pending', 'scheduled', 'running', 'succeeded', 'failed'))`,
		"with an empty version log": byHand + `CREATE TABLE workflows.workflow_migrations (id serial, version_id bigint, is_applied boolean, tstamp timestamp DEFAULT now())`,
	} {
		for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
			t.Run(name+" "+access.Name, func(t *testing.T) {
				t.Parallel()
				database := pgtest.Empty(t)
				db := database.Open(t, access)
				kit.Exec(t, db, tables)
				if access.Driver == pgtest.PGX.Driver { // for its own queries
					access.Params = map[string]string{"search_path": schema}
				}
				ours := database.Open(t, access)
				if err := migrations.Up(t.Context(), ours, schema); !errors.Is(err, migrations.ErrDrift) || !strings.Contains(err.Error(), "migrate adopt") {
					t.Errorf("Up = %v, want ErrDrift and the way out", err)
				}
				if err := migrations.Adopt(t.Context(), ours, schema); err != nil {
					t.Fatal(err)
				}
				wantStatus(t, db, migrations.Latest())
				if diff := cmp.Diff(goldenSchema(t), dumpTables(t, db, schema)+"\n"); diff != "" {
					t.Errorf("the schema is not that of the migrations (-want +got):\n%s", diff)
				}
				got := kit.One[string](t, db, `
SELECT string_agg(concat_ws(' ', run.id, status, run_at, suspended_for, step_name), ', ' ORDER BY run.id)
FROM workflows.workflow_runs AS run
LEFT JOIN (SELECT run_id, step_name FROM workflows.workflow_steps) AS step ON step.run_id = run.id`)
				if want := "c completed, p pending 5 one, s suspended by_hand"; got != want {
					t.Errorf("runs = %s, want %s", got, want)
				}
				wantUnchanged(t, db, func() {
					if err := migrations.Adopt(t.Context(), db, schema); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// What is not exactly documented is refused by name, and nothing has been changed.
func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change string
		want   []string
	}{
		"a column less":      {`ALTER TABLE workflows.workflow_steps DROP COLUMN error`, []string{"workflow_steps", "column error"}},
		"a column more":      {`ALTER TABLE workflows.workflow_runs ADD COLUMN tenant text`, []string{"workflow_runs.tenant is not among"}},
		"another type":       {`ALTER TABLE workflows.workflow_runs ALTER input TYPE json`, []string{"workflow_runs.input is json not null, not jsonb not null"}},
		"NULL allowed":       {`ALTER TABLE workflows.workflow_runs ALTER created_at DROP NOT NULL`, []string{"workflow_runs.created_at is bigint, not bigint not null"}},
		"NULL refused":       {`TRUNCATE workflows.workflow_runs; ALTER TABLE workflows.workflow_runs ALTER output SET NOT NULL`, []string{"workflow_runs.output is jsonb not null, not jsonb"}},
		"no primary key":     {`ALTER TABLE workflows.workflow_steps DROP CONSTRAINT workflow_steps_pkey`, []string{"workflow_steps has not PRIMARY KEY (run_id, step_name)"}},
		"another key":        {`ALTER TABLE workflows.workflow_runs DROP CONSTRAINT workflow_runs_pkey; ALTER TABLE workflows.workflow_runs ADD PRIMARY KEY (id, workflow)`, []string{"workflow_runs has not PRIMARY KEY (id)", "PRIMARY KEY (id, workflow) (workflow_runs_pkey) is not among"}},
		"another check":      {`ALTER TABLE workflows.workflow_runs ADD CONSTRAINT few CHECK (status <> 'running')`, []string{"CHECK", "(few) is not among"}},
		"no cascade":         {strings.TrimSuffix(documentedKey, " ON DELETE CASCADE"), []string{"FOREIGN KEY (run_id)", "is not among"}},
		"a view":             {`ALTER TABLE workflows.workflow_steps RENAME TO data; CREATE VIEW workflows.workflow_steps AS SELECT * FROM workflows.data`, []string{"workflow_steps.run_id is in a relation that is no table"}},
		"one table":          {`DROP TABLE workflows.workflow_steps`, []string{"workflow_steps"}},
		"a later table":      {`CREATE TABLE workflows.workflow_workers (id text)`, []string{"workflow_workers exists before migration 2"}},
		"an unknown status":  {`UPDATE workflows.workflow_runs SET status = 'paused' WHERE id = 's'`, []string{"workflow_runs_status_check"}},
		"a step of no run":   {`DELETE FROM workflows.workflow_runs WHERE id = 'p'`, []string{"workflow_steps_run_id_fkey"}},
		"no table":           {`DROP TABLE workflows.workflow_runs, workflows.workflow_steps`, []string{migrations.ErrNothingToAdopt.Error()}},
		"nothing, no schema": {`DROP SCHEMA workflows CASCADE`, []string{migrations.ErrNothingToAdopt.Error()}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Empty(t).Open(t, pgtest.PQ)
			kit.Exec(t, db, byHand)
			kit.Exec(t, db, test.change)
			wantUnchanged(t, db, func() {
				err := migrations.Adopt(t.Context(), db, schema)
				if err == nil {
					t.Fatal("Adopt succeeds")
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("Adopt = %v, want %q in it", err, want)
					}
				}
				isData := strings.HasPrefix(test.want[0], "workflow_runs_") || strings.HasPrefix(test.want[0], "workflow_steps_")
				isNothing := errors.Is(err, migrations.ErrNothingToAdopt)
				if errors.Is(err, migrations.ErrDrift) == (isData || isNothing) {
					t.Errorf("Adopt = %v, ErrDrift: %t", err, errors.Is(err, migrations.ErrDrift))
				}
			})
		})
	}
}
