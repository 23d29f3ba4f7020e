package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
)

// prepared sends statements on a direct connection of lib/pq's, which has them prepared: then each is one round trip, and the
// server plans it as rarely as it does for pgx. database/sql ties such a statement to one use of the connection, so this speaks
// to the driver, while nobody else has the connection.
type prepared struct {
	conn preparer
	link *link
}

// A preparer is what lib/pq's connections are.
type preparer interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.NamedValueChecker
}

// A statement is what lib/pq's are.
type statement interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

// maxPrepared bounds what the server keeps for one connection: about as many as there are, of those that are sent at all.
const maxPrepared = 200

// mayBeStale reports whether a statement was refused for what its preparation may be to blame for: somebody has sent DEALLOCATE or
// DISCARD, its result has other columns now, or its text has another meaning. Then it has done nothing.
func mayBeStale(state string) bool {
	return state == missingStatement || state == notSupported || strings.HasPrefix(state, "42")
}

// onPrepared calls do with a session that prepares, on a connection which is known to be direct.
func onPrepared(ctx context.Context, conn *sql.Conn, l *link, do func(session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var answer error
	err := conn.Raw(func(c any) error {
		on, ok := c.(preparer)
		if !ok {
			return driver.ErrBadConn // it was one when it was read
		}
		answer = do(&prepared{on, l})
		if ctx.Err() != nil {
			return errCanceled // lib/pq may have asked the server to cancel what comes next
		}
		return nil
	})
	if err == nil || errors.Is(err, errCanceled) {
		return answer
	}
	return err
}

// errCanceled makes database/sql throw a connection away.
var errCanceled error = canceledError{}

type canceledError struct{}

func (canceledError) Error() string { return "the context ended while a statement was under way" }
func (canceledError) Unwrap() error { return driver.ErrBadConn }

func (p *prepared) get(ctx context.Context, dest any, text string, args []any) error {
	rows, err := p.query(ctx, text, args)
	if err != nil {
		return err
	}
	return readOne(rows, dest)
}

func (p *prepared) list(ctx context.Context, dest any, text string, args []any) error {
	rows, err := p.query(ctx, text, args)
	if err != nil {
		return err
	}
	return readAll(rows, dest)
}

func (p *prepared) exec(ctx context.Context, text string, args []any) (int64, error) {
	var result driver.Result
	err := p.send(ctx, text, args, func(s statement, values []driver.NamedValue) (err error) {
		result, err = s.ExecContext(ctx, values)
		return err
	})
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (p *prepared) rows(ctx context.Context, text string, args []any) (rows, error) {
	return p.query(ctx, text, args)
}

func (p *prepared) query(ctx context.Context, text string, args []any) (*cursor, error) {
	var rows driver.Rows
	err := p.send(ctx, text, args, func(s statement, values []driver.NamedValue) (err error) {
		rows, err = s.QueryContext(ctx, values)
		return err
	})
	if err != nil {
		return nil, err
	}
	return newCursor(rows), nil
}

// send executes a statement that is prepared, or is now. One that may have been prepared for other tables is prepared again, once.
func (p *prepared) send(ctx context.Context, text string, args []any, execute func(statement, []driver.NamedValue) error) error {
	values, err := p.values(args)
	if err != nil {
		return err
	}
	if s := p.link.prepared[text]; s != nil {
		err := execute(s, values)
		if !mayBeStale(SQLState(err)) {
			return err
		}
		p.drop(text)
	}
	made, err := p.conn.PrepareContext(ctx, text)
	if err != nil {
		return err
	}
	s, ok := made.(statement)
	if !ok {
		return errors.Join(errors.New("lib/pq's statements take no context"), made.Close())
	}
	if len(p.link.prepared) >= maxPrepared {
		for some := range p.link.prepared {
			p.drop(some)
			break
		}
	}
	p.link.prepared[text] = s
	return execute(s, values)
}

func (p *prepared) drop(text string) {
	_ = p.link.prepared[text].Close() // the connection tells, if it is broken
	delete(p.link.prepared, text)
}

// values converts arguments as database/sql does.
func (p *prepared) values(args []any) ([]driver.NamedValue, error) {
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
		err := p.conn.CheckNamedValue(&values[i])
		if errors.Is(err, driver.ErrSkip) {
			values[i].Value, err = driver.DefaultParameterConverter.ConvertValue(arg)
		}
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}
