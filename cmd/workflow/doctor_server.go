package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/migrations"
)

// The checks of the server, and of the way to it.

// server says what it is, and whether its settings are those that runs need.
func (d *diagnosis) server(ctx context.Context) error {
	var version, isolation, readOnly string
	var number int
	var standby bool
	err := d.db.QueryRowContext(ctx, `
		SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
		       current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only')`,
	).Scan(&version, &number, &standby, &isolation, &readOnly)
	switch {
	case err != nil:
		return err
	case number < 140000:
		d.found("server", bad, "PostgreSQL "+version+" is too old.", "Use 14 or later.")
	case standby:
		d.found("server", bad, "PostgreSQL "+version+", a standby: nothing can be written here.",
			"Connect to the primary; with several hosts use target_session_attrs=read-write.")
	case readOnly == "on":
		d.found("server", bad, "PostgreSQL "+version+", but transactions are read-only by default.", "Reset default_transaction_read_only of the role or database.")
	case isolation != "read committed":
		d.found("server", warn, fmt.Sprintf("PostgreSQL %s, with %s as default: lib/pq pays three round trips more for each statement.", version, isolation),
			"Leave default_transaction_isolation at read committed, and ask for more where it is needed.")
	default:
		d.found("server", ok, "PostgreSQL "+version+".")
	}
	return nil
}

// wire dials, and remembers the connections.
type wire struct {
	net.Dialer
	mu    sync.Mutex
	local []net.Addr
}

func (w *wire) Dial(network, address string) (net.Conn, error) {
	return w.DialContext(context.Background(), network, address)
}

func (w *wire) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return w.DialContext(ctx, network, address)
}

func (w *wire) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := w.Dialer.DialContext(ctx, network, address)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.local = append(w.local, conn.LocalAddr())
	}
	return conn, err
}

// ours reports whether one of the connections has this address here, and whether they are TCP at all.
func (w *wire) ours(ip string, port int) (found, tcp bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, local := range w.local {
		if addr, ok := local.(*net.TCPAddr); ok {
			tcp = true
			found = found || addr.Port == port && addr.IP.Equal(net.ParseIP(ip))
		}
	}
	return found, tcp
}

// connection finds out what stands between: the server sees the very connection that was dialled, or somebody else's.
func (d *diagnosis) connection(ctx context.Context) error {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	const ask = `SELECT coalesce(host(inet_client_addr()), ''), coalesce(inet_client_port(), 0), current_user::text`
	var port int
	var ip, user string
	if err := conn.QueryRowContext(ctx, ask).Scan(&ip, &port, &user); err != nil {
		return err
	}
	found, tcp := d.wire.ours(ip, port)
	switch {
	case !tcp:
		d.found("connection", ok, fmt.Sprintf("A Unix socket, as role %s.", printable(user)))
	case found:
		d.found("connection", ok, fmt.Sprintf("Direct, as role %s: no pooler.", printable(user)))
	default:
		shared, err := d.shared(ctx, conn)
		if err != nil {
			return err
		}
		if shared {
			d.found("connection", ok, fmt.Sprintf("Through a pooler in transaction mode, as role %s.", printable(user)),
				"Open pools of lib/pq with binary_parameters=yes, and give notifiers a direct connection: LISTEN hears nothing here.")
			return nil
		}
		d.found("connection", ok, fmt.Sprintf("Through something in between, as role %s: a pooler in session mode, a proxy or NAT.", printable(user)),
			"Open pools of lib/pq with binary_parameters=yes: it cannot be proved from outside what that is.")
	}
	return nil
}

// shared reports whether another connection of ours gets the server's process that this one has had, which is what a pooler in transaction
// mode does. Nothing is left in a session for that.
func (d *diagnosis) shared(ctx context.Context, conn *sql.Conn) (bool, error) {
	const attempts = 5
	for range attempts {
		var mine, other int64
		if err := conn.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&mine); err != nil {
			return false, err
		}
		tx, err := d.db.BeginTx(ctx, nil)
		if err != nil {
			return false, err
		}
		err = tx.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&other)
		if err := errors.Join(err, tx.Rollback()); err != nil || mine == other {
			return mine == other, err
		}
	}
	return false, nil
}

// schema says how far it is migrated.
func (d *diagnosis) schema(ctx context.Context) error {
	all, err := migrations.Status(ctx, d.db, d.c.target.schema)
	if err != nil {
		return err
	}
	var applied, missing, newer int
	for _, m := range all {
		switch {
		case m.Name == "":
			newer++
		case m.Applied:
			applied++
		default:
			missing++
		}
	}
	name := "Schema " + d.c.target.schema
	switch {
	case applied == 0:
		d.noSchema = true
		d.found("schema", bad, name+" has no tables of ours.", "Is --schema right? If so, make them:", d.c.command("migrate", "up"))
	case missing > 0:
		d.found("schema", bad, fmt.Sprintf("%s lacks %s of this release.", name, numbered(int64(missing), "migration")), d.c.command("migrate", "up"))
	case newer > 0:
		d.found("schema", warn, fmt.Sprintf("%s is newer than this command, by %s.", name, numbered(int64(newer), "migration")),
			"Install the release of the command that the application has.")
	default:
		d.found("schema", ok, fmt.Sprintf("%s is at version %d, the latest of this release.", name, migrations.Latest()))
	}
	return nil
}

// rights looks for those that an application needs; two tables it only reads.
func (d *diagnosis) rights(ctx context.Context) error {
	role := "current_user::text"
	if d.role != "" {
		role = pq.QuoteLiteral(d.role)
	}
	var name string
	var usage bool
	err := d.db.QueryRowContext(ctx, `
		SELECT role, has_schema_privilege(role, `+d.schemaLiteral()+`, 'USAGE')
		FROM (SELECT `+role+`) AS asked (role)`).Scan(&name, &usage)
	if err != nil {
		return err
	}
	missing, err := d.lines(ctx, `
		SELECT format('GRANT %s ON %I.%I TO %I;', string_agg(wanted.privilege, ', ' ORDER BY wanted.rank), nspname, relname, role)
		FROM (SELECT `+role+`) AS asked (role)
		CROSS JOIN pg_class
		JOIN pg_namespace ON pg_namespace.oid = relnamespace
		CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE')) AS wanted (rank, privilege)
		WHERE nspname = `+d.schemaLiteral()+` AND relkind = 'r' AND relname LIKE 'workflow\_%'
		  AND (wanted.rank = 1 OR relname NOT IN ('workflow_migrations', 'workflow_schema'))
		  AND NOT has_table_privilege(role, pg_class.oid, wanted.privilege)
		GROUP BY nspname, relname, role
		ORDER BY relname`)
	if err != nil {
		return err
	}
	if !usage {
		grant := fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", pq.QuoteIdentifier(d.c.target.schema), pq.QuoteIdentifier(name))
		missing = append([]string{grant}, missing...)
	}
	if len(missing) == 0 {
		d.found("rights", ok, fmt.Sprintf("Role %s may do all that an application does.", printable(name)))
		return nil
	}
	d.found("rights", bad, fmt.Sprintf("Role %s lacks rights that an application needs. As the owner:", printable(name)), missing...)
	return nil
}

// lines returns the texts of a query that has one column.
func (d *diagnosis) lines(ctx context.Context, query string) (lines []string, err error) {
	rows, err := d.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		lines = append(lines, printable(line))
	}
	return lines, rows.Err()
}

const toleratedClock = time.Second

// clock compares the database's with this machine's.
func (d *diagnosis) clock(ctx context.Context) error {
	var there time.Time
	before := time.Now()
	if err := d.db.QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&there); err != nil {
		return err
	}
	trip := time.Since(before)
	ahead := there.Sub(before.Add(trip / 2)).Round(time.Millisecond)
	text := fmt.Sprintf("A round trip takes %s", trip.Round(10*time.Microsecond))
	if ahead.Abs() <= toleratedClock+trip {
		d.found("clock", ok, text+", and the clocks agree.")
		return nil
	}
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	d.found("clock", warn, fmt.Sprintf("%s. The database's clock is %s %s this machine's.", text, lasted(ahead.Abs()), way),
		"Runs go by the database's, so nothing breaks; but times of rows and of logs do not fit. Synchronise the clocks.")
	return nil
}

// connections counts those of the server.
func (d *diagnosis) connections(ctx context.Context) error {
	var used, most int
	err := d.db.QueryRowContext(ctx, `
		SELECT count(*), current_setting('max_connections')::int
		FROM pg_stat_activity
		WHERE backend_type = 'client backend'`).Scan(&used, &most)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%d of %d are in use.", used, most)
	if used*5 < most*4 {
		d.found("connections", ok, text)
		return nil
	}
	users, err := d.lines(ctx, `
		SELECT format('%s of role %s in database %s', count(*), usename, datname)
		FROM pg_stat_activity
		WHERE backend_type = 'client backend'
		GROUP BY usename, datname
		ORDER BY count(*) DESC
		LIMIT 3`)
	if err != nil {
		return err
	}
	d.found("connections", warn, text+" Most: "+strings.Join(users, "; ")+".",
		"An idle worker keeps three. Put PgBouncer in front, or bound the pools (SetMaxOpenConns).")
	return nil
}
