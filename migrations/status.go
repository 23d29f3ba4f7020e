package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"
)

// Migration is one versioned file and whether a schema has it.
type Migration struct {
	Version   int64
	Name      string    // of the file; "" for one that a newer release applied and this one does not know
	Applied   bool      //
	AppliedAt time.Time // zero while pending
}

// Status lists all migrations by version. It only reads: on an empty database all are pending, and
// nothing is created.
func Status(ctx context.Context, db *sql.DB, schema string) ([]Migration, error) {
	m, err := newMigrator(db, schema, nil)
	if err != nil {
		return nil, err
	}
	s, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(embedded)
	for version, at := range s.applied {
		i, found := slices.BinarySearchFunc(all, version, func(m Migration, v int64) int {
			return cmp.Compare(m.Version, v)
		})
		if !found {
			all = slices.Insert(all, i, Migration{Version: version})
		}
		all[i].Applied, all[i].AppliedAt = true, at
	}
	return all, nil
}
