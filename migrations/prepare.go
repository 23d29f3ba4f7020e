package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// prepare creates the schema and the version table where they are missing. goose would create the table, but
// wait without a bound for another tool that is just creating it. IF NOT EXISTS would ask for the right to
// create even where there is nothing to create.
func (m *migrator) prepare(ctx context.Context, s *state) error {
	switch {
	case s.has(versionTable):
		return nil
	case s.exists && !s.creatable:
		return fmt.Errorf("migrations: permission denied for schema %s (%s)", m.schema, s.ownerGrants())
	}
	err := m.transact(ctx, func(tx *sql.Tx) error {
		if !s.exists {
			if _, err := tx.ExecContext(ctx, `CREATE SCHEMA `+m.schema); err != nil {
				return err
			}
		}
		return m.createVersionTable(ctx, tx)
	})
	if err != nil && !s.exists {
		return fmt.Errorf("migrations: create schema %s: %w", m.schema, explain(err, s.schemaGrants()))
	}
	if err != nil {
		return fmt.Errorf("migrations: create the version table of schema %s: %w", m.schema, explain(err, s.ownerGrants()))
	}
	return nil
}

func (m *migrator) createVersionTable(ctx context.Context, tx *sql.Tx) error {
	versions, err := m.versions()
	if err != nil {
		return err
	}
	if err := versions.CreateVersionTable(ctx, tx); err != nil {
		return err
	}
	return versions.Insert(ctx, tx, database.InsertRequest{Version: 0}) // as goose does
}

// versions is goose's access to the version table.
func (m *migrator) versions() (database.Store, error) {
	return database.NewStore(goose.DialectPostgres, m.schema+"."+versionTable)
}

// transact runs f in a transaction that waits for no lock longer than a migration does.
func (m *migrator) transact(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := m.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing to do after a commit
	if err := bound(ctx, tx, m.lockTimeout); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// bound limits each wait for a lock in a transaction, whatever limits the role has for its queries.
func bound(ctx context.Context, tx *sql.Tx, d time.Duration) error {
	_, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '`+milliseconds(d)+`'; SET LOCAL statement_timeout = 0`)
	return err
}

// milliseconds spells d for PostgreSQL, whose 0 would be no bound.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10) + "ms"
}
