package migrations_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

const processes = 16

type task struct{ Driver, URL string }

// Processes that start together on an empty database all succeed, and each migration is applied once.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			database := pgtest.Empty(t) // not parallel: sixteen processes are enough at a time
			kit.Crowd(t, processes, task{access.Driver, database.AccessURL(t, access)})
			db := database.Open(t, pgtest.PQ)
			wantVersions(t, db, schema+".workflow_migrations", allVersions())
			if got := dumpTables(t, db, schema) + "\n"; got != goldenSchema(t) {
				t.Errorf("schema:\n%s", got)
			}
		})
	}
}

// child is what such a process does.
func child(todo task) error {
	db, err := sql.Open(todo.Driver, todo.URL)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*kit.Patience)
	defer cancel()
	return migrations.Up(ctx, db, schema)
}
