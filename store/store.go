package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Statements says how a statement that stands alone is sent; see [Auto].
type Statements = pg.Statements

// The ways to send a statement that stands alone; see [pg.Auto].
const (
	Auto   = pg.Auto
	Single = pg.Single
	InTx   = pg.InTx
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
	opts Options
	db   *pg.DB
}

// The marks in the statements of this package. A guard that waits for a lock, sent alone, skips it in a caller's transaction: see the
// package's documentation.
var marks = []pg.Mark{
	{Name: "{update}", Alone: "FOR NO KEY UPDATE", InTx: "FOR NO KEY UPDATE SKIP LOCKED"}, // the statement changes the run
	{
		Name:  "{gate}", // nobody else creates or deletes the run at this moment
		Alone: "start.gate IS NULL OR pg_try_advisory_xact_lock_shared(start.gate)",
		InTx:  "pg_try_advisory_xact_lock(start.gate)",
	},
	{Name: "{alive}", Alone: aliveWorker, InTx: aliveWorker},
	{Name: "{dead}", Alone: deadWorker, InTx: deadWorker},
}

// New returns a store on a pool that stays the caller's: it is not pinged, tuned or closed. New does no I/O.
func New(db *sql.DB, opts Options) *Store {
	return &Store{opts: opts, db: pg.New(db, pg.Options{
		Schema: opts.Schema, Statements: opts.Statements, Timeout: opts.Timeout, Idle: opts.Lease, Marks: marks,
	})}
}

// In returns the store bound to a transaction of the caller, who commits or rolls it back. Waiting for a run that is
// locked by others is bounded by Options.LockTimeout, anything else by ctx alone.
func (s *Store) In(tx *sql.Tx) *Store { return s.on(s.db.In(tx)) }

// Unbounded returns the store without Options.Timeout; see [pg.DB.Unbounded].
func (s *Store) Unbounded() *Store { return s.on(s.db.Unbounded()) }

// Hold takes a connection out of the pool and returns the store on it; see [pg.DB.Hold].
func (s *Store) Hold(ctx context.Context) (held *Store, closeConn func(), err error) {
	db, closeConn, err := s.db.Hold(ctx)
	if err != nil {
		return nil, nil, pg.Problem("take a connection", err)
	}
	return s.on(db), closeConn, nil
}

func (s *Store) on(db *pg.DB) *Store {
	on := *s
	on.db = db
	return &on
}

// MaxOpen returns the pool's bound on open connections, 0 for none.
func (s *Store) MaxOpen() int { return s.db.MaxOpen() }

// Tx returns the transaction that the store is bound to, or nil.
func (s *Store) Tx() *sql.Tx { return s.db.Tx() }

// Ping checks that the database answers, within Options.Timeout.
func (s *Store) Ping(ctx context.Context) error { return pg.Problem("connect", s.db.Ping(ctx)) }

// TimedOut is what a caller of an unbounded store says after its own bound.
func (s *Store) TimedOut(op string, after time.Duration) error {
	return pg.Problem(op, s.db.TimedOut(after))
}

// Why returns why ctx has ended: its error, and its cause if that says more; nil while it has not.
func Why(ctx context.Context) error { return pg.Why(ctx) }

// IsPQ reports whether lib/pq serves the pool.
func IsPQ(db *sql.DB) bool { return pg.IsPQ(db) }

// IsPermanent reports whether the server would refuse a statement again; see [pg.IsPermanent].
func IsPermanent(err error) bool { return pg.IsPermanent(err) }

// IsForAWhile reports whether the server refuses statements until somebody grants a right or migrates.
func IsForAWhile(err error) bool { return pg.IsForAWhile(err) }

// guarded sends a write whose guard answers with one row when the run exists. Inside a caller's transaction the guard
// skips a row that others have locked: then it waits for that row within the bound, and sends the write again.
func (s *Store) guarded(ctx context.Context, dest any, q *pg.Query, runID string, args ...any) error {
	args = append([]any{runID}, args...)
	err := s.db.Get(ctx, dest, q, args...)
	if errors.Is(err, sql.ErrNoRows) && s.db.Tx() != nil {
		if err = s.waitForRow(ctx, lockRow, runID); err != nil {
			return err
		}
		err = s.db.Get(ctx, dest, q, args...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return ErrRunNotFound
	}
	return err
}
