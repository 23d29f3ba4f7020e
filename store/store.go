package store

import (
	"context"
	"database/sql"
	"reflect"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"
)

// Statements says how a statement that stands alone is sent; see [Auto].
type Statements int

const (
	// Auto chooses by the driver of the pool: pgx sends single statements; lib/pq (whose settings a pool does not
	// show) and drivers that are unknown or wrapped send each statement in a transaction of its own.
	Auto Statements = iota
	// Single sends one autocommit statement: one round trip. With lib/pq in its default mode behind a pooler that
	// shares server connections between transactions this gives wrong answers without an error; it is safe there
	// with binary_parameters=yes, and on direct connections always.
	Single
	// InTx sends BEGIN, the statement and COMMIT. It is safe everywhere and costs two more round trips.
	InTx
)

// Options of [New]. The root package has given each a value.
type Options struct {
	Schema      string        // as migrated
	Statements  Statements    // how a lone statement is sent
	Timeout     time.Duration // bound of a call that begins no transaction of the caller's; 0: none
	LockTimeout time.Duration // bound of a wait for a run's lock or row
	Lease       time.Duration // bound of how long a transaction of ours may stay open without a word from this process; 0: none
}

// Store reads and writes the tables of one schema. It is safe for concurrent use when made by [New]; one made by
// [Store.In] is as safe as its transaction.
type Store struct {
	opts   Options
	text   rendered
	writes *writeTexts
	db     *sqlx.DB
	tx     *sqlx.Tx   // set by In; then db is not used
	conn   *sqlx.Conn // set by Hold; then db is not used
}

// ours maps columns by tag alone. sqlx keeps a global mapper too, which belongs to the application.
var ours = reflectx.NewMapperFunc("db", strings.ToLower)

// New returns a store on a pool that stays the caller's: it is not pinged, tuned or closed. New does no I/O.
func New(db *sql.DB, opts Options) *Store {
	if opts.Statements == Auto {
		opts.Statements = statementsFor(db)
	}
	// The driver's name only matters for sqlx's named queries, which are not used here.
	pool := sqlx.NewDb(db, "postgres")
	pool.Mapper = ours
	text, mark := render(opts)
	return &Store{opts: opts, text: text, writes: &writeTexts{render: mark}, db: pool}
}

// In returns the store bound to a transaction of the caller, who commits or rolls it back. Waiting for a run that is
// locked by others is bounded by Options.LockTimeout, anything else by ctx alone.
func (s *Store) In(tx *sql.Tx) *Store {
	bound := *s
	bound.tx = &sqlx.Tx{Tx: tx, Mapper: ours}
	return &bound
}

// Unbounded returns the store without Options.Timeout, for a caller that stops to wait by other means. With a context that
// cannot end either, a call costs no goroutine: neither here nor in database/sql and pgx, which start one each to see a
// context end.
func (s *Store) Unbounded() *Store {
	free := *s
	free.opts.Timeout = 0
	return &free
}

// Hold takes a connection out of the pool and returns the store on it, for statements that must not wait for others to
// give theirs back. The caller closes it; once it is broken, every statement is an error.
func (s *Store) Hold(ctx context.Context) (held *Store, closeConn func(), err error) {
	var conn *sqlx.Conn
	err = s.bounded(ctx, func(ctx context.Context) (err error) {
		conn, err = s.db.Connx(ctx)
		return err
	})
	if err != nil {
		return nil, nil, problem("take a connection", err)
	}
	on := *s
	on.conn = conn
	return &on, func() { leave(conn.Close) }, nil
}

// MaxOpen returns the pool's bound on open connections, 0 for none.
func (s *Store) MaxOpen() int { return s.db.Stats().MaxOpenConnections }

// Tx returns the transaction that the store is bound to, or nil.
func (s *Store) Tx() *sql.Tx {
	if s.tx == nil {
		return nil
	}
	return s.tx.Tx
}

// Ping checks that the database answers, within Options.Timeout.
func (s *Store) Ping(ctx context.Context) error {
	return problem("connect", s.bounded(ctx, s.db.PingContext))
}

// statementsFor returns Single for a driver that is known to be safe with it everywhere, else InTx.
func statementsFor(db *sql.DB) Statements {
	if driverPackage(db) == "github.com/jackc/pgx/v5/stdlib" {
		return Single
	}
	return InTx
}

// driverPackage returns the import path of the pool's driver, so that a driver is recognised without importing it.
func driverPackage(db *sql.DB) string {
	t := reflect.TypeOf(db.Driver())
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}

// IsPQ reports whether lib/pq serves the pool.
func IsPQ(db *sql.DB) bool { return driverPackage(db) == "github.com/lib/pq" }
