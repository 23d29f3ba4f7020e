package engine_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
)

type killable struct {
	driver.Connector
	process *process
}

func (k *killable) Connect(ctx context.Context) (driver.Conn, error) {
	if k.process.isDead() {
		return nil, errKilled
	}
	inner, err := k.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{fullConn: inner.(fullConn), p: k.process}, nil
}

// fullConn is what both drivers implement.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
}

// A conn sends BEGIN with the first statement of its transaction: by then it is known whether it counts.
type conn struct {
	fullConn
	p       *process
	pending *driver.TxOptions // BeginTx was called, BEGIN is not sent
	open    driver.Tx
	label   string // of the last statement
	counts  bool   // so does the end of its transaction
	lost    bool   // by the cut
}

// BeginTx refuses a second transaction, as drivers do: when a context ends, database/sql rolls back in a goroutine of its own,
// and somebody who holds the connection may be faster.
func (c *conn) BeginTx(_ context.Context, options driver.TxOptions) (driver.Tx, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.open != nil {
		return nil, driver.ErrBadConn
	}
	c.pending, c.counts = &options, false
	return c, nil
}

func (c *conn) begin() (err error) {
	c.open, err = c.fullConn.BeginTx(context.Background(), *c.pending)
	c.pending = nil
	return err
}

// send sends a statement; do does, and tells whether it found work.
func (c *conn) send(text string, args []driver.NamedValue, do func() (found bool, err error)) error {
	if err := c.usable(); err != nil {
		return err
	}
	c.p.mu.Lock()
	c.p.all = append(c.p.all, sent{text, args})
	c.p.mu.Unlock()
	s := classify(text)
	verdict := c.p.counts(s)
	c.label, c.counts = s.label, verdict == always
	if verdict == whenFound {
		return c.look(do)
	}
	if c.pending != nil {
		if err := c.countIf("BEGIN, for "+c.label, c.begin); err != nil {
			return err
		}
	}
	return c.countIf(c.label, func() error {
		_, err := do()
		c.p.delay(c.label)
		return err
	})
}

func (c *conn) countIf(label string, send func() error) error {
	if !c.counts {
		return send()
	}
	err := c.p.count(label, send)
	if errors.Is(err, errLost) {
		c.lost = true
		err = errors.Join(err, c.fullConn.Close())
	}
	return err
}

func (c *conn) usable() error {
	switch {
	case c.p.isDead():
		return errKilled
	case c.lost:
		return errLost
	default:
		return nil
	}
}

func (c *conn) Close() error {
	if c.lost {
		return nil
	}
	return c.fullConn.Close()
}

// look sends a statement that counts when it finds work, and counts it afterwards: it is in a transaction, and so still
// to be undone.
func (c *conn) look(do func() (bool, error)) error {
	inTx := c.pending != nil
	if !inTx {
		c.pending = &driver.TxOptions{}
	}
	if err := c.begin(); err != nil {
		return err
	}
	found, err := do()
	switch {
	case err != nil && inTx:
		return err
	case err != nil:
		return errors.Join(err, c.end().Rollback())
	}
	c.counts = found
	if !inTx {
		return c.countIf(c.label, c.end().Commit)
	}
	done := func() error { return nil }
	if err := c.countIf("BEGIN, for "+c.label, done); err != nil {
		return err
	}
	return c.countIf(c.label, done)
}

func (c *conn) Commit() error {
	if err := c.usable(); err != nil {
		return err
	}
	tx := c.end()
	if tx == nil {
		return nil
	}
	return c.countIf("COMMIT, of "+c.label, tx.Commit)
}

func (c *conn) Rollback() error {
	if err := c.usable(); err != nil {
		return err
	}
	tx := c.end()
	if tx == nil {
		return nil
	}
	return c.countIf("ROLLBACK, of "+c.label, tx.Rollback)
}

// end returns the transaction that is to end, nil if nothing was sent in it.
func (c *conn) end() driver.Tx {
	tx := c.open
	c.pending, c.open = nil, nil
	return tx
}

func (c *conn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (result driver.Result, err error) {
	err = c.send(text, args, func() (bool, error) {
		result, err = c.fullConn.ExecContext(ctx, text, args)
		if err != nil {
			return false, err
		}
		n, err := result.RowsAffected()
		return n > 0, err
	})
	return result, err
}

// QueryContext reads all rows: a statement is done when they have come.
func (c *conn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	var rows *rows
	err := c.send(text, args, func() (bool, error) {
		inner, err := c.fullConn.QueryContext(ctx, text, args)
		if err != nil {
			return false, err
		}
		rows, err = readAll(inner)
		return rows.found(), err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (c *conn) PrepareContext(context.Context, string) (driver.Stmt, error) {
	return nil, errors.New("a statement was prepared explicitly")
}

func (c *conn) ResetSession(ctx context.Context) error {
	if c.usable() != nil {
		return driver.ErrBadConn
	}
	return c.fullConn.ResetSession(ctx)
}

func (c *conn) IsValid() bool {
	v, ok := c.fullConn.(driver.Validator)
	return c.usable() == nil && (!ok || v.IsValid())
}

type rows struct {
	columns []string
	values  [][]driver.Value
}

func readAll(inner driver.Rows) (*rows, error) {
	r := &rows{columns: inner.Columns()}
	for {
		values := make([]driver.Value, len(r.columns))
		if err := inner.Next(values); errors.Is(err, io.EOF) {
			return r, inner.Close()
		} else if err != nil {
			return nil, errors.Join(err, inner.Close())
		}
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				values[i] = slices.Clone(b)
			}
		}
		r.values = append(r.values, values)
	}
}

// found reports whether a statement that looks for work found some: what it looks for is a column that is neither NULL nor 0.
func (r *rows) found() bool {
	if r == nil || len(r.values) == 0 {
		return false
	}
	for i, name := range r.columns {
		if name == "id" || name == "taken" {
			return r.values[0][i] != nil && fmt.Sprint(r.values[0][i]) != "0"
		}
	}
	return true
}

func (r *rows) Columns() []string { return r.columns }
func (r *rows) Close() error      { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if len(r.values) == 0 {
		return io.EOF
	}
	copy(dest, r.values[0])
	r.values = r.values[1:]
	return nil
}
