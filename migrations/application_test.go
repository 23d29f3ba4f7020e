package migrations_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// An application that runs goose in its usual way, with Go migrations in the global registry and the default
// version table, does not notice us, nor we it. The versions are the same as ours. With our schema in front of
// its search_path, its tables and its version table lie among ours.
func TestApplicationWithItsOwnGoose(t *testing.T) { // not parallel: goose's settings are global
	goose.SetBaseFS(fstest.MapFS{
		"00001_orders.sql": {Data: []byte("-- +goose Up\nCREATE TABLE orders (id int);\n-- +goose Down\nDROP TABLE orders;\n")},
		"00002_refill.go":  {Data: []byte("package migrations")},
	})
	goose.SetLogger(goose.NopLogger())
	fill := func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO orders VALUES (1)`)
		return err
	}
	goose.AddNamedMigrationContext("00002_refill.go", fill, nil)
	t.Cleanup(func() {
		goose.SetBaseFS(nil)
		goose.ResetGlobalMigrations()
	})
	const ours = schema + ".workflow_migrations"

	for _, place := range []struct {
		searchPath, home string
		access           pgtest.Access
	}{
		{"public", "public", pgtest.PQ},
		{schema + ",public", schema, pgtest.PQ},
		{schema + ",public", schema, pgtest.PGX},
	} {
		t.Run(place.access.Name+" "+place.searchPath, func(t *testing.T) {
			access, home := place.access, place.home
			access.Params = map[string]string{"search_path": place.searchPath}
			db := pgtest.Empty(t).Open(t, access)
			theirs := home + ".goose_db_version"
			application := func(run func(context.Context, *sql.DB, string, ...goose.OptionsFunc) error) {
				t.Helper()
				if err := run(t.Context(), db, "."); err != nil {
					t.Fatal(err)
				}
			}
			// What is the application's: its table with its rows, and its versions.
			orders := func() (int, string) {
				t.Helper()
				return kit.One[int](t, db, `SELECT count(*) FROM `+home+`.orders`),
					kit.One[string](t, db, `SELECT string_agg(v::text, ' ' ORDER BY id) FROM `+theirs+` AS v`)
			}

			up(t, db, schema)
			application(goose.UpContext)
			wantVersions(t, db, theirs, "0 1 2")
			wantVersions(t, db, ours, allVersions())
			wantUnchanged(t, db, func() { up(t, db, schema) })

			_, versions := orders()
			down(t, db, schema, 0)
			up(t, db, schema)
			down(t, db, schema, 0)
			if rows, after := orders(); rows != 1 || after != versions {
				t.Errorf("the application has %d rows of 1, its versions were\n%s\nand are\n%s", rows, versions, after)
			}
			wantVersions(t, db, ours, "0")

			up(t, db, schema)
			application(goose.ResetContext)
			wantVersions(t, db, theirs, "0")
			wantVersions(t, db, ours, allVersions())
			wantUnchanged(t, db, func() { up(t, db, schema) })
			application(goose.UpContext)
			wantVersions(t, db, theirs, "0 1 2")
		})
	}
}
