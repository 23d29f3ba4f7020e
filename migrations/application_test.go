package migrations_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// An application that runs goose in its usual way, with Go migrations in the global registry and the
// version table in public, does not notice us, nor we it. The versions are the same as ours.
func TestApplicationWithItsOwnGoose(t *testing.T) { // not parallel: goose's settings are global
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
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
	const theirs, ours = "public.goose_db_version", schema + ".goose_db_version"
	application := func(run func(context.Context, *sql.DB, string, ...goose.OptionsFunc) error) {
		t.Helper()
		if err := run(t.Context(), db, "."); err != nil {
			t.Fatal(err)
		}
	}

	up(t, db, schema)
	application(goose.UpContext)
	wantVersions(t, db, theirs, "0 1 2")
	wantVersions(t, db, ours, allVersions())

	before := dump(t, db, "public")
	down(t, db, schema, 0)
	up(t, db, schema)
	down(t, db, schema, 0)
	if after := dump(t, db, "public"); after != before {
		t.Errorf("the application's schema was\n%s\nand is\n%s", before, after)
	}
	if n := query[int](t, db, `SELECT count(*) FROM orders`); n != 1 {
		t.Errorf("the application's migration ran %d times", n)
	}

	up(t, db, schema)
	before = dump(t, db, schema)
	application(goose.ResetContext)
	wantVersions(t, db, theirs, "0")
	if after := dump(t, db, schema); after != before {
		t.Errorf("our schema was\n%s\nand is\n%s", before, after)
	}
}
