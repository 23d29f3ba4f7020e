package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow/lock"
)

// versionTable is where goose keeps what it applied. The name is ours: by goose's own, an application whose
// search_path has our schema in front would take our versions for its own.
const versionTable = "workflow_migrations"

// state is what the database holds of one schema, at one moment.
type state struct {
	schema    string
	role      string              // who asks, quoted where SQL needs it; as is database
	database  string              //
	exists    bool                // the schema itself
	creatable bool                // may the role create tables in it?
	relations map[string][]string // columns by relation: our tables and the version table
	applied   map[int64]time.Time // by version, from the version table
	needs     int64               // workflow_schema.needs_version, 0 before that table exists
}

// read takes the state in one snapshot, so that a migration running elsewhere is seen whole or not at
// all. It needs no right but SELECT on the version table and on workflow_schema, and waits only for somebody who
// drops or rewrites them.
func (m *migrator) read(ctx context.Context) (*state, error) {
	s := &state{schema: m.schema, relations: make(map[string][]string), applied: make(map[int64]time.Time)}
	tx, end, err := m.beginReading(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrations: look at schema %s: %w", m.schema, err)
	}
	defer end()
	for _, read := range []func(context.Context, *sql.Tx) error{s.readCatalog, s.readVersions, s.readNeeds} {
		err := read(ctx, tx)
		if sqlState(err) == lockNotAvailable {
			err = m.inUse(ctx, err, lock.ErrTimeout, m.tableWait)
		}
		if err != nil {
			return nil, fmt.Errorf("migrations: look at schema %s: %w", m.schema, explain(err, s.readGrants()))
		}
	}
	return s, nil
}

// beginReading waits for a connection of the pool no longer than for the second one that a migration needs.
func (m *migrator) beginReading(ctx context.Context) (tx *sql.Tx, end func(), err error) {
	txCtx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(m.poolWait, func() {
		cancel(fmt.Errorf("no connection of the pool was free within %s", m.poolWait))
	})
	tx, err = m.db.BeginTx(txCtx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	timer.Stop()
	if err == nil {
		err = bound(txCtx, tx, m.tableWait)
	}
	end = func() {
		if tx != nil {
			_ = tx.Rollback() // nothing was written
		}
		cancel(nil)
	}
	if err != nil {
		err = causeOf(txCtx, err)
		end()
		return nil, nil, err
	}
	return tx, end, nil
}

// The catalog is readable for every role, unlike to_regclass, which asks for USAGE on the schema. All
// relations count: a view or an index of our name is as much in the way as a table.
const readCatalog = `
SELECT quote_ident(current_user), quote_ident(current_database()),
       n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'CREATE'), false),
       coalesce(c.relname::text, ''), coalesce(a.attname::text, '')
FROM (SELECT $1::text AS name) AS want
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = want.name
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
     AND c.relname LIKE 'workflow\_%'
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped`

func (s *state) readCatalog(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, readCatalog, s.schema)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var relation, column string
		if err := rows.Scan(&s.role, &s.database, &s.exists, &s.creatable, &relation, &column); err != nil {
			return err
		}
		if relation != "" {
			s.relations[relation] = append(s.relations[relation], column)
		}
	}
	return rows.Err()
}

// The times were written without a zone, in the zone of the session that migrated; the best guess is
// that ours is the same.
const readVersions = `
SELECT version_id, is_applied, tstamp::timestamptz
FROM %s.workflow_migrations
WHERE version_id > 0
ORDER BY id`

func (s *state) readVersions(ctx context.Context, tx *sql.Tx) error {
	if !s.has(versionTable) {
		return nil
	}
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(readVersions, s.schema))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var version int64
		var applied bool
		var at time.Time
		if err := rows.Scan(&version, &applied, &at); err != nil {
			return err
		}
		s.applied[version] = at
		if !applied { // how old releases of goose wrote a rollback
			delete(s.applied, version)
		}
	}
	return rows.Err()
}

const readNeeds = `
SELECT needs_version
FROM %s.workflow_schema`

func (s *state) readNeeds(ctx context.Context, tx *sql.Tx) error {
	if len(s.applied) == 0 || !slices.Contains(s.relations["workflow_schema"], "needs_version") {
		return nil // not there yet, not ours, or a case for check
	}
	err := tx.QueryRowContext(ctx, fmt.Sprintf(readNeeds, s.schema)).Scan(&s.needs)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func (s *state) has(relation string) bool {
	_, ok := s.relations[relation]
	return ok
}

// upToDate reports whether every migration of this release is applied.
func (s *state) upToDate() bool {
	return !slices.ContainsFunc(embedded, func(m Migration) bool {
		_, ok := s.applied[m.Version]
		return !ok
	})
}

// version returns the newest migration applied, 0 when there is none. It may be newer than Latest.
func (s *state) version() int64 {
	var newest int64
	for v := range s.applied {
		newest = max(newest, v)
	}
	return newest
}
