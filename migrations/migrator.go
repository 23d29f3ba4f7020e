package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
)

// Option changes how Up and Down work.
type Option func(*migrator)

// WithLogger reports each migration that ran (INFO) and a schema newer than the library (WARN).
// Defaults to silence, as does nil.
func WithLogger(logger *slog.Logger) Option {
	return func(m *migrator) {
		if logger != nil {
			m.log = logger
		}
	}
}

// Up creates the schema if there is none and applies the migrations that are missing.
//
// Any number of processes may call Up at once, directly or through a pooler: the migrations run under
// a lock of the database, one for all schemas, for which Up waits up to five minutes. When there is
// nothing to apply Up only reads: it takes no lock and needs no right to create anything. Otherwise it
// uses two connections of db at once and needs CREATE on the database, or on the schema if that exists.
// Tools that take no such lock, such as the goose command, may migrate at the same time.
//
// A migration that changes a table waits until no transaction uses it, and whoever wants the table meanwhile
// queues behind the migration. So it waits two seconds at a time, with pauses in which the others get their
// turn, for a minute in all; then the error tells which sessions use the tables, and errors.Is lock.ErrTimeout.
//
// A schema that a newer release has migrated is accepted, so that releases can be rolled out and back,
// unless it is marked as unusable for this one: ErrSchemaTooNew. Missing columns, and tables that
// stand where a migration creates its own, are ErrDrift, found before anything is changed. Each
// migration is a transaction: when one fails, those before it stay.
func Up(ctx context.Context, db *sql.DB, schema string, options ...Option) error {
	m, err := newMigrator(db, schema, options)
	if err != nil {
		return err
	}
	s, err := m.look(ctx)
	if err != nil {
		return err
	}
	if s.upToDate() {
		return nil
	}
	return m.locked(ctx, func() error {
		return m.retry(ctx, func() (*state, error) { return m.up(ctx) })
	})
}

// Down rolls migrations back, newest first, until the schema is at version; 0 rolls back all of them.
// With the tables their rows are lost. The schema itself stays, and in it the version table.
//
// Down takes the lock that [Up] takes. A schema already at or below version is left as it is; one
// that a newer release has migrated must be rolled back by that release.
func Down(ctx context.Context, db *sql.DB, schema string, version int64, options ...Option) error {
	m, err := newMigrator(db, schema, options)
	if err != nil {
		return err
	}
	if version != 0 && !known(version) {
		return fmt.Errorf("migrations: roll back schema %s: there is no version %d", schema, version)
	}
	s, err := m.read(ctx)
	if err != nil {
		return err
	}
	if s.version() <= version {
		return nil
	}
	return m.locked(ctx, func() error {
		return m.retry(ctx, func() (*state, error) { return m.down(ctx, version) })
	})
}

// migrator carries what a call was given.
type migrator struct {
	db     *sql.DB
	schema string
	log    *slog.Logger

	lockWait    time.Duration // for other processes' migrations
	poolWait    time.Duration // for a second connection
	lockTimeout time.Duration // for a lock on a table, while others queue behind us
	tableWait   time.Duration // for all locks on tables, in several attempts
}

func newMigrator(db *sql.DB, schema string, options []Option) (*migrator, error) {
	if err := ValidateSchema(schema); err != nil {
		return nil, err
	}
	m := &migrator{
		db:       db,
		schema:   schema,
		log:      slog.New(slog.DiscardHandler),
		lockWait: 5 * time.Minute,
		poolWait: 30 * time.Second,

		lockTimeout: 2 * time.Second,
		tableWait:   time.Minute,
	}
	for _, option := range options {
		option(m)
	}
	return m, nil
}

// look reads the state and refuses one that must not be built upon.
func (m *migrator) look(ctx context.Context) (*state, error) {
	s, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.version() > Latest() {
		m.log.WarnContext(ctx, "schema is newer than the library",
			"schema", m.schema, "version", s.version(), "library_version", Latest())
	}
	return s, nil
}

// up runs under the lock, where another process may have done the work meanwhile.
func (m *migrator) up(ctx context.Context) (*state, error) {
	s, err := m.look(ctx)
	if err != nil || s.upToDate() {
		return s, err
	}
	if err := m.prepare(ctx, s); err != nil {
		return s, err
	}
	provider, err := m.provider()
	if err != nil {
		return s, err
	}
	results, err := provider.Up(ctx)
	if err := m.report(ctx, s, results, err); err != nil {
		return s, err
	}
	_, err = m.look(ctx)
	return s, err
}

func (m *migrator) down(ctx context.Context, version int64) (*state, error) {
	s, err := m.read(ctx)
	if err != nil || s.version() <= version {
		return s, err
	}
	if !known(s.version()) {
		return s, fmt.Errorf("migrations: roll back schema %s: version %d is unknown to this release of the library: use the release that applied it",
			m.schema, s.version())
	}
	provider, err := m.provider()
	if err != nil {
		return s, err
	}
	results, err := provider.DownTo(ctx, version)
	return s, m.report(ctx, s, results, err)
}

// provider is made anew for each use: it caches that the version table exists.
func (m *migrator) provider() (*goose.Provider, error) {
	p, err := goose.NewProvider(goose.DialectPostgres, m.db, files{m.schema, m.lockTimeout},
		goose.WithTableName(m.schema+"."+versionTable),
		goose.WithDisableGlobalRegistry(true)) // migrations registered there are the application's
	if err != nil {
		return nil, fmt.Errorf("migrations: read the files: %w", err)
	}
	return p, nil
}

// report logs the migrations that ran and names the one that failed.
func (m *migrator) report(ctx context.Context, s *state, results []*goose.MigrationResult, err error) error {
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied
		err = fmt.Errorf("%s: %w", partial.Failed.Source.Path, partial.Err)
	}
	for _, r := range results {
		m.log.InfoContext(ctx, "migrated", "schema", m.schema,
			"migration", r.Source.Path, "direction", r.Direction, "duration", r.Duration.Round(time.Millisecond))
	}
	if err != nil {
		return fmt.Errorf("migrations: migrate schema %s: %w", m.schema, explain(err, s.ownerGrants()))
	}
	return nil
}

func known(version int64) bool {
	for _, m := range embedded {
		if m.Version == version {
			return true
		}
	}
	return false
}
