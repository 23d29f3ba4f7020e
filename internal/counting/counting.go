// Package counting wraps a database/sql driver and counts what is sent through it, for tests that promise how many
// statements an operation costs.
//
// The library does not know a wrapped driver: with Config.Statements Auto it sends InTx.
package counting

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
)

// Counts are what was sent since the counter was made or taken. A statement of database/sql is counted, not a round
// trip: drivers need one or two for it.
type Counts struct {
	Begins, Commits, Rollbacks int
	Statements                 int // Query and Exec, outside and inside transactions
	Prepares                   int // explicit ones, which poolers do not keep
}

// A Counter counts for all connections of one pool.
type Counter struct {
	mu     sync.Mutex
	counts Counts
	texts  []string
	plan   func(text string, plan []byte)
}

// Explain has each query explained before it is sent, as it would be executed, and the plan told as JSON. It is for queries that change
// nothing, since they are executed twice.
func (c *Counter) Explain(tell func(text string, plan []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan = tell
}

// Take returns the counts and begins again from zero.
func (c *Counter) Take() Counts {
	counts, _ := c.TakeTexts()
	return counts
}

// TakeTexts is Take with the texts of the statements, for the message of a test that fails.
func (c *Counter) TakeTexts() (Counts, []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts, texts := c.counts, c.texts
	c.counts, c.texts = Counts{}, nil
	return counts, texts
}

func (c *Counter) count(what func(*Counts) *int, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*what(&c.counts)++
	if text != "" {
		c.texts = append(c.texts, text)
	}
}

func begins(c *Counts) *int     { return &c.Begins }
func commits(c *Counts) *int    { return &c.Commits }
func rollbacks(c *Counts) *int  { return &c.Rollbacks }
func statements(c *Counts) *int { return &c.Statements }
func prepares(c *Counts) *int   { return &c.Prepares }

// Open returns a pool of the named driver and its counter. The caller closes the pool.
func Open(driverName, dsn string) (*sql.DB, *Counter, error) {
	plain, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, nil, err
	}
	defer plain.Close()
	c := &connector{driver: &Driver{plain.Driver()}, dsn: dsn, counter: new(Counter)}
	return sql.OpenDB(c), c.counter, nil
}

// Driver is the type that database/sql shows of a counted pool.
type Driver struct{ driver.Driver }

type connector struct {
	driver  *Driver
	dsn     string
	counter *Counter
}

func (c *connector) Driver() driver.Driver { return c.driver }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	plain, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := plain.(fullConn)
	if !ok {
		return nil, fmt.Errorf("counting: %T lacks a method of a modern driver", plain)
	}
	return &conn{fullConn: inner, counter: c.counter}, nil
}

func (c *connector) open(ctx context.Context) (driver.Conn, error) {
	modern, ok := c.driver.Driver.(driver.DriverContext)
	if !ok {
		return c.driver.Open(c.dsn)
	}
	inner, err := modern.OpenConnector(c.dsn)
	if err != nil {
		return nil, err
	}
	return inner.Connect(ctx)
}

// fullConn is what both lib/pq and pgx implement. Whatever a wrapper leaves out database/sql does in another way, or, as
// with BeginTx and an isolation level, refuses to do.
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

type conn struct {
	fullConn
	counter *Counter
}

func (c *conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	c.counter.count(begins, "")
	inner, err := c.fullConn.BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	return &tx{inner, c.counter}, nil
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.counter.count(prepares, query)
	return c.fullConn.PrepareContext(ctx, query)
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.counter.count(statements, query)
	return c.fullConn.ExecContext(ctx, query, args)
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.counter.count(statements, query)
	if err := c.explain(ctx, query, args); err != nil {
		return nil, err
	}
	return c.fullConn.QueryContext(ctx, query, args)
}

func (c *conn) explain(ctx context.Context, query string, args []driver.NamedValue) error {
	c.counter.mu.Lock()
	tell := c.counter.plan
	c.counter.mu.Unlock()
	if tell == nil {
		return nil
	}
	rows, err := c.fullConn.QueryContext(ctx, "EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) "+query, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return err
	}
	switch plan := row[0].(type) {
	case []byte:
		tell(query, plan)
	case string:
		tell(query, []byte(plan))
	}
	return nil
}

// IsValid is optional: lib/pq has it, pgx tells by its errors.
func (c *conn) IsValid() bool {
	v, ok := c.fullConn.(driver.Validator)
	return !ok || v.IsValid()
}

type tx struct {
	driver.Tx
	counter *Counter
}

func (t *tx) Commit() error {
	t.counter.count(commits, "")
	return t.Tx.Commit()
}

func (t *tx) Rollback() error {
	t.counter.count(rollbacks, "")
	return t.Tx.Rollback()
}
