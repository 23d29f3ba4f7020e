package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// The checks of what others do to the tables.

const (
	longSnapshot = 5 * time.Minute  // keeps dead rows, and index entries that polls walk
	longLock     = 10 * time.Second // of a session that is idle meanwhile
)

var snapshotsQuery = `
	SELECT pid::text, coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(state, ''),
	       extract(epoch FROM clock_timestamp() - xact_start)::float8
	FROM pg_stat_activity
	WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
	  AND (xact_start IS NULL OR xact_start < clock_timestamp() - interval '` + seconds(longSnapshot) + `')
	ORDER BY xact_start
	LIMIT 5`

// snapshots looks for what keeps vacuum from removing dead rows. A session of another role has no times for a role without
// pg_read_all_stats.
func (d *diagnosis) snapshots(ctx context.Context) error {
	holders, err := d.holders(ctx, snapshotsQuery)
	if err != nil {
		return err
	}
	others, err := d.lines(ctx, `
		SELECT format('prepared transaction %s of %s, since %s', gid, owner, date_trunc('second', prepared))
		FROM pg_prepared_xacts
		WHERE prepared < clock_timestamp() - interval '`+seconds(longSnapshot)+`'
		UNION ALL
		SELECT format('replication slot %s, %s transactions old', slot_name, greatest(age(xmin), age(catalog_xmin)))
		FROM pg_replication_slots
		WHERE greatest(age(xmin), age(catalog_xmin)) > 1000000
		LIMIT 5`)
	if err != nil {
		return err
	}
	var advice []string
	for _, h := range holders {
		if h.age > 0 {
			others = append(others, h.text())
			advice = append(advice, h.end())
		}
	}
	if len(others) == 0 {
		d.found("snapshots", ok, "None is older than "+short(longSnapshot)+".")
		return nil
	}
	d.found("snapshots", warn, "Old ones keep dead rows, so that tables and polls grow: "+strings.Join(others, "; ")+".", advice...)
	return nil
}

// locksQuery is for a schema, as a literal.
func locksQuery(schema string) string {
	return `
		SELECT pid::text, coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(state, ''),
		       extract(epoch FROM clock_timestamp() - xact_start)::float8
		FROM pg_stat_activity AS session
		WHERE state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '` + seconds(longLock) + `'
		  AND EXISTS (
		      SELECT
		      FROM pg_locks
		      JOIN pg_class ON pg_class.oid = relation
		      JOIN pg_namespace ON pg_namespace.oid = relnamespace
		      WHERE pg_locks.pid = session.pid AND nspname = ` + schema + `
		        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		        AND mode NOT IN ('AccessShareLock')
		  )
		ORDER BY xact_start
		LIMIT 5`
}

// locks looks for sessions that hold runs, and do nothing.
func (d *diagnosis) locks(ctx context.Context) error {
	holders, err := d.holders(ctx, locksQuery(d.schemaLiteral()))
	if err != nil {
		return err
	}
	if len(holders) == 0 {
		d.found("locks", ok, "No session holds runs and is idle.")
		return nil
	}
	var texts, advice []string
	for _, h := range holders {
		texts = append(texts, h.text())
		advice = append(advice, h.end())
	}
	d.found("locks", warn, "Sessions that hold rows of ours and do nothing: "+strings.Join(texts, "; ")+".",
		append([]string{"What they hold waits for them. If their program has forgotten them:"}, advice...)...)
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d seconds", int(d.Seconds())) }

// A holder is a session that is in the way.
type holder struct {
	pid, user, application, state string
	age                           time.Duration // of its transaction; 0: not to be seen
}

func (h holder) text() string {
	text := fmt.Sprintf("process %s of role %s", h.pid, printable(h.user))
	if h.application != "" {
		text += " (" + printable(h.application) + ")"
	}
	return text + ", " + h.state + ", for " + age(h.age)
}

func (h holder) end() string { return "SELECT pg_terminate_backend(" + h.pid + ");" }

func (d *diagnosis) holders(ctx context.Context, query string) (all []holder, err error) {
	rows, err := d.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var h holder
		var age sql.NullFloat64
		if err := rows.Scan(&h.pid, &h.user, &h.application, &h.state, &age); err != nil {
			return nil, err
		}
		h.age = time.Duration(age.Float64 * float64(time.Second))
		all = append(all, h)
	}
	return all, rows.Err()
}

// tables looks at their sizes, and for dead rows that vacuum has not come to.
func (d *diagnosis) tables(ctx context.Context) error {
	rows, err := d.db.QueryContext(ctx, `
		SELECT relname, pg_size_pretty(pg_total_relation_size(relid)), n_live_tup, n_dead_tup,
		       coalesce(extract(epoch FROM clock_timestamp() - greatest(last_vacuum, last_autovacuum))::float8, -1)
		FROM pg_stat_user_tables
		WHERE schemaname = `+d.schemaLiteral()+`
		ORDER BY pg_total_relation_size(relid) DESC`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var sizes, bloated, advice []string
	for rows.Next() {
		var name, size string
		var live, dead int64
		var vacuum float64
		if err := rows.Scan(&name, &size, &live, &dead, &vacuum); err != nil {
			return err
		}
		if len(sizes) < 3 {
			sizes = append(sizes, fmt.Sprintf("%s %s", name, size))
		}
		if dead < bloat || dead < live {
			continue
		}
		last := "never vacuumed"
		if vacuum >= 0 {
			last = "vacuumed " + age(time.Duration(vacuum*float64(time.Second))) + " ago"
		}
		bloated = append(bloated, fmt.Sprintf("%s has %d dead rows beside %d, %s", name, dead, live, last))
		advice = append(advice, fmt.Sprintf("VACUUM %s.%s;", d.c.target.schema, name))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(bloated) == 0 {
		d.found("tables", ok, "Few dead rows. The largest: "+strings.Join(sizes, ", ")+".")
		return nil
	}
	d.found("tables", warn, strings.Join(bloated, "; ")+".",
		append([]string{"Autovacuum is behind, or a snapshot keeps them (see snapshots). By hand:"}, advice...)...)
	return nil
}

// bloat is how many dead rows are worth a word, when they are more than the living.
const bloat = 10_000
