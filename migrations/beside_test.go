package migrations_test

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

// Another tool, which takes no lock of ours, applies the migration that Up is about to apply: Up waits for the
// same objects, fails on what is there meanwhile, looks again and finds nothing left to do.
func TestMigrationIsAppliedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t).Open(t, access)
			for version := migrations.Latest(); version > 0; version-- {
				down(t, db, schema, version-1)
				tx, err := db.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = tx.Rollback() })
				for _, statement := range append(statements(t, version),
					fmt.Sprintf(`INSERT INTO workflows.workflow_migrations (version_id, is_applied) VALUES (%d, true)`, version)) {
					if _, err := tx.ExecContext(t.Context(), statement); err != nil {
						t.Fatalf("%s: %v", statement, err)
					}
				}
				done := make(chan error, 1)
				go func() { done <- migrations.Up(t.Context(), db, schema) }()
				await(t, db, `
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Errorf("migration %d: %v", version, err)
				}
				wantStatus(t, db, migrations.Latest())
			}
		})
	}
}

// statements are those of a migration's Up, for the default schema.
func statements(t *testing.T, version int64) []string {
	t.Helper()
	names, err := fs.Glob(migrations.FS, fmt.Sprintf("%05d_*.sql", version))
	if err != nil || len(names) != 1 {
		t.Fatalf("files = %v, %v", names, err)
	}
	text, err := fs.ReadFile(migrations.FS, names[0])
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "-- +goose Up\n")
	upward, _, _ := strings.Cut(after, "-- +goose Down\n")
	upward = strings.NewReplacer("${WORKFLOW_SCHEMA:-workflows}", schema, "${WORKFLOW_LOCK_TIMEOUT:-2s}", "2s").Replace(upward)
	return strings.Split(strings.TrimSpace(upward), ";\n")
}

// Twelve Ups beside two goose commands on an empty schema: each Up succeeds, whatever the commands say, and
// each migration is applied once.
func TestUpBesideGoose(t *testing.T) {
	t.Parallel()
	program := buildGoose(t)
	rounds := 4
	if pgtest.Full() {
		rounds = 16
	}
	for round := range rounds {
		database := pgtest.Empty(t)
		access := []pgtest.Access{pgtest.PQ, pgtest.PGX}[round%2]
		db := database.Open(t, access)
		kit.Exec(t, db, `CREATE SCHEMA workflows`)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = tryGoose(t, program, database.URL(), schema, "up") })
		}
		for i := range 12 {
			wg.Go(func() {
				begun, err := i%2 == 0, error(nil) // the others come while the commands are at it
				for !begun && err == nil {
					err = db.QueryRowContext(t.Context(), `SELECT to_regclass('workflows.workflow_migrations') IS NOT NULL`).Scan(&begun)
				}
				if err == nil {
					err = migrations.Up(t.Context(), db, schema)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantVersions(t, db, schema+".workflow_migrations", allVersions())
		if got := dumpTables(t, db, schema) + "\n"; got != goldenSchema(t) {
			t.Errorf("schema:\n%s", got)
		}
	}
}
