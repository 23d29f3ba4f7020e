package pg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Transact begins a transaction, calls f with the DB bound to it, and commits when f returns nil; it rolls back when f returns
// an error or panics. It is not bounded: f is the caller's.
func (d *DB) Transact(ctx context.Context, isolation sql.IsolationLevel, f func(*DB) error) error {
	return d.transact(ctx, sql.TxOptions{Isolation: isolation}, func(tx *sql.Tx) error { return f(d.In(tx)) })
}

// Own returns the DB for statements of ours in a transaction that [DB.Transact] began: with it they bound how long that stays
// open, see Options.Idle.
func (d *DB) Own() *DB {
	own := *d
	own.own = true
	return &own
}

// Undo rolls back the transaction that the DB is bound to and reports whether it was open until now. One whose context has
// ended was not.
func (d *DB) Undo() (wasOpen bool) {
	return !errors.Is(leave(d.tx.Rollback), sql.ErrTxDone)
}

// transact calls f in a transaction.
func (d *DB) transact(ctx context.Context, options sql.TxOptions, f func(*sql.Tx) error) error {
	b, err := d.begin(ctx, options, inAnyCase)
	if err != nil {
		return err
	}
	return d.commit(ctx, b, f)
}

// commit calls f in a transaction that was begun, ends it, and gives back its connection.
func (d *DB) commit(ctx context.Context, b begun, f func(*sql.Tx) error) (err error) {
	committed := false
	defer func() {
		if committed {
			d.giveBack(b.conn)
			return
		}
		_ = leave(b.tx.Rollback)
		d.leaveConn(b.conn, err)
	}()
	if err := f(b.tx); err != nil {
		return err
	}
	if err := await(ctx, b.tx.Commit); err != nil {
		return &CommitError{err}
	}
	committed = true
	return nil
}

// giveBack gives back a connection, unless it stays taken.
func (d *DB) giveBack(conn *sql.Conn) {
	if d.conn == nil {
		_ = conn.Close()
	}
}

// leaveConn gives back a connection on which err happened. A call that was left behind may still have it.
func (d *DB) leaveConn(conn *sql.Conn, err error) {
	_ = d.hold.use(func() error { discard(conn, err); return nil })
	if d.conn == nil {
		_ = leave(conn.Close)
	}
}

// A begun is a connection with a transaction, or with none where the link says that a lone statement needs none.
type begun struct {
	conn *sql.Conn
	link *link
	tx   *sql.Tx
}

// begin takes a connection and begins a transaction on it, as onConn does with those that turn out to be broken. It begins none
// where judge says that a statement may stand alone. It is the one place that begins one.
func (d *DB) begin(ctx context.Context, options sql.TxOptions, judge judgement) (begun, error) {
	return handOver(ctx, func() (b begun, err error) {
		err = d.hold.use(func() error { b, err = d.tryToBegin(ctx, options, judge); return err })
		return b, err
	}, d.drop)
}

// tryToBegin is begin without its bound.
func (d *DB) tryToBegin(ctx context.Context, options sql.TxOptions, judge judgement) (begun, error) {
	for tries := 0; ; tries++ {
		b, err := d.tryBegin(ctx, options, judge)
		if err == nil {
			return b, nil
		}
		if b.conn == nil {
			return begun{}, err
		}
		discard(b.conn, err)
		d.giveBack(b.conn)
		if d.conn != nil || tries == maxTries || ctx.Err() != nil || !isLost(err) {
			return begun{}, fmt.Errorf("begin: %w", err)
		}
	}
}

// tryBegin is begin on one connection, which the caller gives back after an error.
func (d *DB) tryBegin(ctx context.Context, options sql.TxOptions, judge judgement) (b begun, err error) {
	if b.conn = d.conn; b.conn == nil {
		if b.conn, err = d.take(ctx); err != nil {
			return b, err
		}
	}
	if b.link, err = judge(ctx, b.conn); err == nil && !b.link.alone {
		b.tx, err = begin(ctx, b.conn, options)
	}
	return b, err
}

// drop gives back what was begun for a caller who has left.
func (d *DB) drop(b begun) {
	if b.tx != nil {
		_ = leave(b.tx.Rollback)
	}
	d.leaveConn(b.conn, nil)
}

// A judgement says what is known of a connection; an error, that it is of no use.
type judgement func(context.Context, *sql.Conn) (*link, error)

// inAnyCase is the judgement on a connection on which a transaction is begun in any case.
func inAnyCase(context.Context, *sql.Conn) (*link, error) { return unknown, nil }

// CommitError says that a transaction may or may not have been committed, unless the server's error inside says more.
type CommitError struct{ err error }

func (e *CommitError) Error() string { return "commit: " + e.err.Error() }
func (e *CommitError) Unwrap() error { return e.err }
