package migrations_test

import (
	"database/sql"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/migrations"
)

// What each file must be: ASCII, since a database in another encoding refuses a character that it lacks, also in a
// comment; patient for a moment only when it waits for a table, since others then queue behind it; and not cut short
// by a limit that the role has for its queries.
func TestFiles(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations.FS, "*")
	if err != nil || len(names) != int(migrations.Latest()) {
		t.Fatalf("files = %v, %v", names, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if j := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }); j >= 0 {
				t.Errorf("%s:%d: %q is not ASCII", name, i+1, line[j:])
			}
		}
		for _, direction := range []string{"Up", "Down"} {
			want := "-- +goose " + direction + "\nSET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';\nSET LOCAL statement_timeout = 0;\n"
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}

func TestOtherEncodings(t *testing.T) {
	t.Parallel()
	admin := pgtest.Empty(t)
	for _, encoding := range []string{"LATIN1", "WIN1252", "SQL_ASCII"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			address := inEncoding(t, admin, encoding)
			for _, driver := range []string{"postgres", "pgx"} {
				db, err := sql.Open(driver, address)
				if err != nil {
					t.Fatal(err)
				}
				up(t, db, schema)
				wantStatus(t, db, migrations.Latest())
				if diff := dumpTables(t, db, schema) + "\n"; diff != goldenSchema(t) {
					t.Errorf("%s: schema:\n%s", driver, diff)
				}
				down(t, db, schema, 0)
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// inEncoding returns the address of a database whose encoding is another, beside one of pgtest's.
func inEncoding(t *testing.T, beside *pgtest.Database, encoding string) string {
	t.Helper()
	address, err := url.Parse(beside.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.Path += "_" + strings.ToLower(encoding)
	name := pq.QuoteIdentifier(strings.TrimPrefix(address.Path, "/"))
	db := beside.Open(t, pgtest.PQ)
	kit.Exec(t, db, `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING '`+encoding+`' LC_COLLATE 'C' LC_CTYPE 'C'`)
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP DATABASE ` + name + ` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	return address.String()
}
