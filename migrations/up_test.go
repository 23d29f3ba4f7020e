package migrations_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

// Several schemas in one process, at once, whatever its environment says: each gets its own tables.
func TestSeveralSchemas(t *testing.T) {
	t.Setenv("WORKFLOW_SCHEMA", "from_environment") // what the goose command goes by
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			db := pgtest.Empty(t).Open(t, access)
			names := []string{schema, "schema_one", "schema_two", "schema_one", "schema_two"}
			var wg sync.WaitGroup
			for _, name := range names {
				wg.Go(func() {
					if err := migrations.Up(t.Context(), db, name); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			down(t, db, "schema_two", 0)
			for _, name := range names[:2] {
				wantVersions(t, db, name+".workflow_migrations", allVersions())
				if got := strings.ReplaceAll(dumpTables(t, db, name), name+".", schema+".") + "\n"; got != goldenSchema(t) {
					t.Errorf("schema %s:\n%s", name, got)
				}
			}
			if kit.One[bool](t, db, `SELECT to_regnamespace('from_environment') IS NOT NULL`) {
				t.Error("the environment was followed")
			}
		})
	}
}

// A rollback of the application must be able to start on the schema of the newer release, up to the mark.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PQ)
	newer := migrations.Latest() + 1
	kit.Exec(t, db, fmt.Sprintf(`INSERT INTO workflows.workflow_migrations (version_id, is_applied) VALUES (%d, true)`, newer))
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
	kit.Exec(t, db, fmt.Sprintf(`UPDATE workflows.workflow_schema SET needs_version = %d`, newer))
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
	kit.Exec(t, db, `CREATE TABLE workflows.theirs (id int)`)
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
