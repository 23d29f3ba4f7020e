package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3/database"
)

// ErrNothingToAdopt is returned by Adopt when a schema has none of the tables. Up creates them.
var ErrNothingToAdopt = errors.New("migrations: there are no tables to adopt")

// Adopt takes over tables that were made without these migrations but are those that the first one makes, as the
// TypeScript package does and its README documents, and goes on as [Up] does. The rows stay as they are: pending
// runs become claimable.
//
// The tables must have exactly the documented columns, types, NOT NULLs and primary keys; the documented foreign
// key and checks are added where they are missing. Any other difference is ErrDrift, which names it, and nothing
// has been changed. A schema that has been migrated already needs no adoption: there Adopt is Up.
func Adopt(ctx context.Context, db *sql.DB, schema string, options ...Option) error {
	m, err := newMigrator(db, schema, options)
	if err != nil {
		return err
	}
	s, err := m.read(ctx)
	if err != nil {
		return err
	}
	if s.version() > 0 {
		return Up(ctx, db, schema, options...)
	}
	return m.locked(ctx, func() error {
		if err := m.retry(ctx, func() (*state, error) { return m.adopt(ctx) }); err != nil {
			return err
		}
		return m.retry(ctx, func() (*state, error) { return m.up(ctx) })
	})
}

// adopt records the first migration, if the tables are its own.
func (m *migrator) adopt(ctx context.Context) (*state, error) {
	s, err := m.read(ctx)
	if err != nil || s.version() > 0 {
		return s, err
	}
	if !s.has("workflow_runs") && !s.has("workflow_steps") {
		return s, fmt.Errorf("%w in schema %s", ErrNothingToAdopt, m.schema)
	}
	assumed := *s
	assumed.applied = map[int64]time.Time{1: {}}
	if err := assumed.check(); err != nil { // tables of later migrations may be in the way
		return s, err
	}
	err = m.transact(ctx, func(tx *sql.Tx) error { return m.adoptIn(ctx, tx, s) })
	if err != nil && !errors.Is(err, ErrDrift) {
		err = fmt.Errorf("migrations: adopt schema %s: %w", m.schema, explain(err, s.ownerGrants()))
	}
	if err == nil {
		m.log.InfoContext(ctx, "adopted", "schema", m.schema, "migration", embedded[0].Name)
	}
	return s, err
}

func (m *migrator) adoptIn(ctx context.Context, tx *sql.Tx, s *state) error {
	// So that PostgreSQL prints the names of tables with their schema.
	if _, err := tx.ExecContext(ctx, `SET LOCAL search_path = ''`); err != nil {
		return err
	}
	if _, err := m.compareDocumented(ctx, tx); err != nil {
		return err
	}
	// To comment on a table takes a lock on it: from here on nobody else alters it. So once more.
	if _, err := tx.ExecContext(ctx, m.documentedComments()); err != nil {
		return err
	}
	missing, err := m.compareDocumented(ctx, tx)
	if err != nil {
		return err
	}
	for _, c := range missing {
		statement := fmt.Sprintf("ALTER TABLE %s.%s ADD CONSTRAINT %s %s", m.schema, c.table, c.name, c.definitionIn(m.schema))
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if !s.has(versionTable) {
		if err := m.createVersionTable(ctx, tx); err != nil {
			return err
		}
	}
	versions, err := m.versions()
	if err != nil {
		return err
	}
	return versions.Insert(ctx, tx, database.InsertRequest{Version: embedded[0].Version})
}
