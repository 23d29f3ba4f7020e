// Package migrations holds the versioned SQL files of the workflow tables and applies them.
//
// The files are plain goose migrations with an Up and a Down each. [Up], [Down] and [Status] apply
// them to any schema from Go; the goose command does the same from a shell, and either continues
// where the other stopped, since both keep the same version table, workflow_migrations in that schema:
//
//	psql "$DATABASE_URL" -c 'CREATE SCHEMA workflows'
//	goose -dir migrations/sql -table workflows.workflow_migrations postgres "$DATABASE_URL" up
//
// and for another schema
//
//	WORKFLOW_SCHEMA=jobs goose -dir migrations/sql -table jobs.workflow_migrations postgres "$DATABASE_URL" up
//
// In these, a migration gives up after WORKFLOW_LOCK_TIMEOUT (2s) of waiting for a table that is in use; Up
// tries again for a while.
//
// An application's own goose migrations keep their own version table; they neither see nor disturb these,
// whatever its search_path.
package migrations

import (
	"cmp"
	"embed"
	"io/fs"
	"slices"

	"github.com/pressly/goose/v3"
)

//go:embed sql/*.sql
var folder embed.FS

// FS holds the migration files at its root. Their schema is spelled ${WORKFLOW_SCHEMA:-workflows}, which goose
// replaces from the environment of the process; [Up] and [Down] replace it by the schema they are given.
var FS = func() fs.FS {
	files, err := fs.Sub(folder, "sql")
	if err != nil {
		panic(err) // only a malformed path
	}
	return files
}()

// DefaultSchema is the schema that the migration files name unless told otherwise.
const DefaultSchema = "workflows"

// Latest returns the version of the newest migration in this release of the library.
func Latest() int64 {
	return embedded[len(embedded)-1].Version
}

// embedded lists the files in FS by version, none applied.
var embedded = list()

func list() []Migration {
	files, err := fs.Glob(FS, "*.sql")
	if err != nil {
		panic(err) // only a malformed pattern
	}
	var all []Migration
	for _, name := range files {
		version, err := goose.NumericComponent(name)
		if err != nil {
			panic("migrations: " + name + ": " + err.Error()) // a file that goose would skip silently
		}
		all = append(all, Migration{Version: version, Name: name})
	}
	slices.SortFunc(all, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	return all
}
