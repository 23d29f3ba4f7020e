package main

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is the key of the advisory lock under which processes that start at the same time take turns.
const migrationLock = 20250102

// migrate brings the shop's tables up to date by goose, as many applications do. The library's own migrations
// (Service.Init) have their own version table in their own schema: neither sees the other's.
func migrate(ctx context.Context, db *sql.DB) error {
	// goose has transactions of its own; this one, beside them, holds the lock and nothing else.
	lock, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, migrationLock); err != nil {
		return err
	}
	// The version table is to lie in the schema, so a migration cannot make that.
	if _, err := db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS example_refunds`); err != nil {
		return err
	}
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName("example_refunds.goose_db_version"), goose.WithDisableGlobalRegistry(true))
}
