// Package pg sends statements to PostgreSQL through database/sql: one statement, one outcome. It knows sessions, bounds,
// what may be sent again, and what the server's errors mean; it does not know whose tables it writes.
//
// A statement is defined once, with [Define] or [DefineRead], and has a name. It goes out in one of three ways: in a
// transaction of the caller's, in a transaction of its own, or by itself; see [Statements].
package pg

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/jmoiron/sqlx/reflectx"
)

// Statements says how a statement that stands alone is sent; see [Auto].
type Statements int

const (
	// Auto chooses by the driver: Single with pgx; with lib/pq for each connection, Single where that has
	// binary_parameters=yes or is found to lead to the server directly; InTx with others, and with drivers that wrap one.
	Auto Statements = iota
	// Single sends one autocommit statement: one round trip. With lib/pq in its default mode behind a pooler that
	// shares server connections between transactions this gives wrong answers without an error; it is safe there
	// with binary_parameters=yes, and on direct connections always. With a driver that wraps lib/pq a statement whose answer is
	// lost with its connection is sent again.
	Single
	// InTx sends BEGIN, the statement and COMMIT. It is safe everywhere and costs two more round trips.
	InTx
)

// Options of [New].
type Options struct {
	Schema     string        // fills the mark {schema}
	Statements Statements    // how a lone statement is sent
	Timeout    time.Duration // bound of a call, from taking a connection to the answer; 0: none
	Idle       time.Duration // bound of how long a transaction of ours stays open without a word from this process; 0: none
	Marks      []Mark        // that the caller's statements use, besides those of [Query]
}

// DB sends statements. It is safe for concurrent use when made by [New]; one made by [DB.In] is as safe as its transaction.
type DB struct {
	opts  Options
	texts *texts
	links *links // nil with pgx
	pool  *sql.DB
	conn  *sql.Conn // set by Hold; then no other connection is used
	hold  *hold     // of conn: whoever uses that does so within its use
	tx    *sql.Tx   // set by In; then neither is used
	own   bool      // set by Own: the transaction is ours
}

// ours maps columns by tag alone. sqlx keeps a global mapper too, which belongs to the application.
var ours = reflectx.NewMapperFunc("db", strings.ToLower)

// New returns a DB on a pool that stays the caller's: it is not pinged, tuned or closed. New does no I/O.
func New(db *sql.DB, opts Options) *DB {
	d := &DB{pool: db}
	switch {
	case !isPGX(db):
		d.links = newLinks()
	case opts.Statements == Auto:
		opts.Statements = Single
	}
	d.opts, d.texts = opts, newTexts(opts)
	return d
}

// In returns the DB bound to a transaction of the caller, who commits or rolls it back.
func (d *DB) In(tx *sql.Tx) *DB {
	bound := *d
	bound.tx = tx
	return &bound
}

// Tx returns the transaction that the DB is bound to, or nil.
func (d *DB) Tx() *sql.Tx { return d.tx }

// Unbounded returns the DB without Options.Timeout, for a caller that bounds its wait another way. With a context that cannot
// end either, a call costs no goroutine: neither here nor in database/sql and pgx, which start one each to see a context
// end.
func (d *DB) Unbounded() *DB {
	free := *d
	free.opts.Timeout = 0
	return &free
}

// Hold takes a connection out of the pool and returns the DB on it, for statements that must not wait for others to give
// theirs back. The caller closes it; once it is broken, every statement is an error.
func (d *DB) Hold(ctx context.Context) (held *DB, closeConn func(), err error) {
	ctx, cancel := d.Bound(ctx)
	defer cancel()
	conn, err := handOver(ctx, func() (*sql.Conn, error) { return d.take(ctx) }, d.giveBack)
	if err != nil {
		return nil, nil, err
	}
	on := *d
	on.conn, on.hold = conn, &hold{conn: conn}
	return &on, on.hold.close, nil
}

// Ping checks that the server answers.
func (d *DB) Ping(ctx context.Context) error { return d.bounded(ctx, d.pool.PingContext) }

// MaxOpen returns the pool's bound on open connections, 0 for none.
func (d *DB) MaxOpen() int { return d.pool.Stats().MaxOpenConnections }

// Timeout returns Options.Timeout.
func (d *DB) Timeout() time.Duration { return d.opts.Timeout }
