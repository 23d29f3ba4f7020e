package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jmoiron/sqlx"
)

// A session is what sends a statement: a connection or a transaction.
type session interface {
	get(ctx context.Context, dest any, text string, args []any) error
	list(ctx context.Context, dest any, text string, args []any) error
	rows(ctx context.Context, text string, args []any) (rows, error)
	exec(ctx context.Context, text string, args []any) (int64, error)
}

// rows are what sql.Rows are.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// sqlSession sends by database/sql.
type sqlSession struct {
	on interface {
		sqlx.QueryerContext
		sqlx.ExecerContext
	}
}

func connSession(conn *sql.Conn) session { return sqlSession{&sqlx.Conn{Conn: conn, Mapper: ours}} }
func txSession(tx *sql.Tx) session       { return sqlSession{&sqlx.Tx{Tx: tx, Mapper: ours}} }

func (s sqlSession) get(ctx context.Context, dest any, text string, args []any) error {
	return sqlx.GetContext(ctx, s.on, dest, text, args...)
}

func (s sqlSession) list(ctx context.Context, dest any, text string, args []any) error {
	return sqlx.SelectContext(ctx, s.on, dest, text, args...)
}

func (s sqlSession) rows(ctx context.Context, text string, args []any) (rows, error) {
	return s.on.QueryContext(ctx, text, args...) //nolint:rowserrcheck // the caller goes through them
}

func (s sqlSession) exec(ctx context.Context, text string, args []any) (int64, error) {
	result, err := s.on.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// take takes a connection out of the pool. The caller closes it, which gives it back.
func (d *DB) take(ctx context.Context) (*sql.Conn, error) {
	conn, err := d.pool.Conn(ctx)
	if err != nil {
		return nil, d.noConnection(ctx, err)
	}
	return conn, nil
}

// maxTries is more connections than an idle pool keeps.
const maxTries = 1000

// onConn calls f with a connection that nobody else uses meanwhile. The pool may hold connections that the server has
// closed; a driver reports that before it has sent anything. database/sql tries another one then, but not for a connection
// that was taken out: so this does.
func (d *DB) onConn(ctx context.Context, f func(*sql.Conn) error) error {
	if d.conn != nil {
		return d.hold.use(func() error {
			err := f(d.conn)
			discard(d.conn, err)
			return err
		})
	}
	for tries := 0; ; tries++ {
		conn, err := d.take(ctx)
		if err != nil {
			return err
		}
		err = f(conn)
		discard(conn, err)
		_ = conn.Close() // it is back in the pool, or closed: nothing that concerns f
		if tries == maxTries || !errors.Is(err, driver.ErrBadConn) {
			return err
		}
	}
}

// isLost reports whether an error, of a BEGIN, says that the connection is gone: whether the server read it or not, nothing
// has happened. For any other statement only the driver can say so.
func isLost(err error) bool {
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.As(err, &network) ||
		strings.HasPrefix(SQLState(err), "57P0")
}

// discard throws away a connection if err, which happened on it, says that it leads to the wrong server: one that was the
// primary before a failover. The pool would go on handing it out for as long as it lives.
func discard(conn *sql.Conn, err error) {
	if err != nil && SQLState(err) == readOnlyTransaction {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// noConnection says why no connection could be taken.
func (d *DB) noConnection(ctx context.Context, err error) error {
	stats := d.pool.Stats()
	if ctx.Err() != nil && stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections {
		return &poolError{size: stats.MaxOpenConnections, err: err}
	}
	return fmt.Errorf("connect: %w", err)
}

// ErrNoConnection is returned when a call waited in vain for a connection of the pool, all of which were in use. Nothing was
// sent. It is an [ErrTimeout] too, when Config.Timeout ended the wait.
var ErrNoConnection = errors.New("no free connection in the pool")

type poolError struct {
	size int
	err  error
}

func (e *poolError) Error() string {
	return fmt.Sprintf("%v: all %d are in use (see SetMaxOpenConns): %v", ErrNoConnection, e.size, e.err)
}

func (e *poolError) Unwrap() []error { return []error{ErrNoConnection, e.err} }

// begin begins a transaction on the connection.
func begin(ctx context.Context, conn *sql.Conn, options sql.TxOptions) (*sql.Tx, error) {
	tx, err := conn.BeginTx(ctx, &options)
	if err == nil || ctx.Err() != nil {
		return tx, err
	}
	if SQLState(err) == notSupported { // a transaction that may write, on a server that is a standby
		return nil, &standbyError{err}
	}
	if SQLState(err) == "" && !beginsTx(conn) {
		return nil, fmt.Errorf("%w: the driver has no BeginTx, and one that wraps another must pass on driver.ConnBeginTx", err)
	}
	return nil, err
}

// beginsTx reports whether the driver can begin a transaction with options. A driver that cannot be asked is taken to.
func beginsTx(conn *sql.Conn) bool {
	can := true
	_ = conn.Raw(func(c any) error {
		_, can = c.(driver.ConnBeginTx)
		return nil
	})
	return can
}

// standbyError gives the error of a BEGIN the code that a statement would have had.
type standbyError struct{ err error }

func (e *standbyError) Error() string    { return e.err.Error() }
func (e *standbyError) Unwrap() error    { return e.err }
func (e *standbyError) SQLState() string { return readOnlyTransaction }
