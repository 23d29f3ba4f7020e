package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/lock"
)

// The pause between two tries to lock a table doubles from the first to the longest. Meanwhile others, who
// queue behind a waiting ALTER TABLE, get their turn.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 4 * time.Second
)

// retry repeats attempt, which reads the state and goes on from there, while others are in its way: those who
// use the tables, and tools that migrate the same schema without taking our lock, such as the goose command.
func (m *migrator) retry(ctx context.Context, attempt func() (*state, error)) error {
	start, pause := time.Now(), firstPause
	for {
		before, err := attempt()
		switch {
		case err != nil && ctx.Err() != nil && pause > firstPause: // it ended while we waited
			return m.inUse(ctx, err, context.Cause(ctx), time.Since(start))
		case sqlState(err) == "", before == nil, ctx.Err() != nil:
			return err
		}
		// What failed may have been done by somebody else: then there is less to do, or nothing.
		after, lookErr := m.read(ctx)
		if lookErr == nil && !after.same(before) && time.Since(start) < m.tableWait {
			continue
		}
		if state := sqlState(err); state != lockNotAvailable && state != deadlockDetected {
			return err
		}
		reason := lock.ErrTimeout
		if time.Since(start)+pause < m.tableWait {
			select {
			case <-time.After(pause):
				pause = min(2*pause, longestPause)
				continue
			case <-ctx.Done():
				reason = context.Cause(ctx)
			}
		}
		return m.inUse(ctx, err, reason, time.Since(start))
	}
}

// same reports whether nobody has migrated between two looks.
func (s *state) same(other *state) bool {
	return s.exists == other.exists && s.has(versionTable) == other.has(versionTable) && maps.Equal(s.applied, other.applied)
}

// The transactions that have held a lock on one of the tables for as long as a migration waits. What a role may
// not see of others is NULL; a prepared transaction has no process.
const readBlockers = `
SELECT lock.pid, activity.application_name, activity.state, activity.query_start
FROM pg_catalog.pg_locks AS lock
JOIN pg_catalog.pg_class AS class ON class.oid = lock.relation AND class.relkind = 'r' AND class.relname LIKE 'workflow\_%'
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace AND namespace.nspname = $1
JOIN pg_catalog.pg_database AS database ON database.oid = lock.database AND database.datname = current_database()
LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.granted
  AND lock.pid IS DISTINCT FROM pg_backend_pid()
  AND coalesce(activity.xact_start < clock_timestamp() - $2::bigint * interval '1 millisecond', true)
GROUP BY lock.pid, activity.application_name, activity.state, activity.query_start, activity.xact_start
ORDER BY bool_or(lock.mode = 'AccessExclusiveLock') DESC, activity.xact_start
LIMIT 3`

// inUse adds to an error what was waited for, who was in the way as far as it can be seen, and what to do.
func (m *migrator) inUse(ctx context.Context, err, reason error, waited time.Duration) error {
	blockers, lookErr := m.blockers(ctx, min(waited, m.lockTimeout))
	who := "by " + strings.Join(blockers, ", ") + ": end that transaction, then try again"
	switch {
	case lookErr != nil:
		who = "by others, who could not be looked up (" + lookErr.Error() + ")"
	case len(blockers) == 0:
		who = "by others, who are gone now: try again"
	}
	return fmt.Errorf("%w: %w: for %s tables of schema %s were in use %s", err, reason, waited.Round(100*time.Millisecond), m.schema, who)
}

// blockers describes those who have held a lock since then.
func (m *migrator) blockers(ctx context.Context, since time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	rows, err := m.db.QueryContext(ctx, readBlockers, m.schema, since.Milliseconds())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var pid sql.NullInt64
		var application, state sql.NullString
		var query sql.NullTime
		if err := rows.Scan(&pid, &application, &state, &query); err != nil {
			return nil, err
		}
		text := "a prepared transaction"
		if pid.Valid {
			text = fmt.Sprintf("pid %d (application %q", pid.Int64, application.String)
			if query.Valid {
				text += fmt.Sprintf(", %s, query started %s", state.String, query.Time.UTC().Format(time.DateTime+" UTC"))
			}
			text += ")"
		}
		all = append(all, text)
	}
	return all, rows.Err()
}
