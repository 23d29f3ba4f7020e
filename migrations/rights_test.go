package migrations_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

// grants is what a role needs to run workflows that it may not migrate; docs/operations.md shows them.
var grants = []string{
	`GRANT USAGE ON SCHEMA workflows TO {role}`,
	`GRANT SELECT ON workflows.workflow_migrations, workflows.workflow_schema TO {role}`,
	`GRANT SELECT, INSERT, UPDATE, DELETE ON workflows.workflow_runs, workflows.workflow_steps, workflows.workflow_signals,
		workflows.workflow_workers, workflows.workflow_queues, workflows.workflow_queue_turns,
		workflows.workflow_schedules, workflows.workflow_attributes TO {role}`,
}

func TestRoleWithDMLOnly(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PQBinary, pgtest.PGX} {
		db := database.Role(t, grants...).Open(t, access)
		up(t, db, schema)
		wantStatus(t, db, migrations.Latest())
		kit.Exec(t, db, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at) VALUES ('`+access.Name+`', 'w', 'pending', '{}', 0, 0)`)
		if _, err := db.ExecContext(t.Context(), `CREATE TABLE workflows.mine ()`); err == nil {
			t.Error("the role has more rights than the test means it to have")
		}
	}
}

// Each error says what to run, and nothing has been changed.
func TestRoleLacksRights(t *testing.T) {
	t.Parallel()
	all := strings.Join(grants, "; ")
	tests := map[string]struct {
		admin  string // before, as superuser
		grants string
		want   string
	}{
		"no schema":          {``, ``, `CREATE SCHEMA workflows AUTHORIZATION "{role}"`},
		"an empty schema":    {`CREATE SCHEMA workflows`, ``, `GRANT USAGE, CREATE ON SCHEMA workflows TO "{role}"`},
		"no usage":           {`up`, `REVOKE ALL ON SCHEMA workflows FROM {role}`, `GRANT USAGE ON SCHEMA workflows TO "{role}"`},
		"no version table":   {`up`, grants[0], `GRANT SELECT ON workflows.workflow_migrations, workflows.workflow_schema TO "{role}"`},
		"no schema table":    {`up`, grants[0] + `; GRANT SELECT ON workflows.workflow_migrations TO {role}`, `workflows.workflow_schema TO "{role}"`},
		"another's tables":   {`up, down`, all, `migrate as the owner`},
		"half of its tables": {`up, down`, all + `; GRANT CREATE ON SCHEMA workflows TO {role}`, `migrate as the owner`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			admin := database.Open(t, pgtest.PQ)
			if strings.HasPrefix(test.admin, "up") {
				up(t, admin, schema)
			} else {
				kit.Exec(t, admin, test.admin)
			}
			db := database.Role(t, test.grants).Open(t, pgtest.PQ)
			if test.admin == "up, down" {
				down(t, admin, schema, 1)
			}
			want := strings.ReplaceAll(test.want, `"{role}"`, kit.One[string](t, db, `SELECT quote_ident(current_user)`))
			wantUnchanged(t, admin, func() {
				start := time.Now()
				err := migrations.Up(t.Context(), db, schema)
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "permission denied") && !strings.Contains(err.Error(), "must be owner") {
					t.Errorf("Up = %v, want %q in it", err, want)
				}
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("Up took %s to find out", took)
				}
			})
		})
	}
}

// Three ways to let a role migrate: it may create the schema, it owns the schema, it may create in the schema.
func TestRoleMayMigrate(t *testing.T) {
	t.Parallel()
	for _, grant := range []string{
		`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$`,
		`CREATE SCHEMA workflows AUTHORIZATION {role}`,
		`CREATE SCHEMA workflows; GRANT USAGE, CREATE ON SCHEMA workflows TO {role}`,
	} {
		db := pgtest.Empty(t).Role(t, grant).Open(t, pgtest.PGX)
		up(t, db, schema)
		down(t, db, schema, 0)
		up(t, db, schema)
	}
}

// Another tool, which takes no lock, creates the schema between our look and our attempt.
func TestSchemaIsCreatedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			db, admin := database.Open(t, access), database.Open(t, pgtest.PQ)
			tx, err := admin.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.ExecContext(t.Context(), `CREATE SCHEMA workflows`); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- migrations.Up(t.Context(), db, schema) }()
			await(t, admin, `
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			wantStatus(t, db, migrations.Latest())
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	err := migrations.Up(t.Context(), db, schema)
	if err == nil || !strings.HasPrefix(err.Error(), "migrations: look at schema workflows: ") || errors.Is(err, migrations.ErrDrift) {
		t.Errorf("Up = %v", err)
	}
}
