package kit

import (
	"context"
	"database/sql"
	"errors"
	"testing"
)

// An Execer is a *sql.DB, *sql.Tx or *sql.Conn.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// A Queryer is a *sql.DB, *sql.Tx or *sql.Conn.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Exec executes a statement that must succeed.
func Exec(t testing.TB, on Execer, query string, args ...any) {
	t.Helper()
	ctx, cancel := bounded(t)
	defer cancel()
	if _, err := on.ExecContext(ctx, query, args...); err != nil {
		t.Fatalf("%.300s: %v", query, err)
	}
}

// One returns the only value of the only row.
func One[T any](t testing.TB, on Queryer, query string, args ...any) (v T) {
	t.Helper()
	ctx, cancel := bounded(t)
	defer cancel()
	if err := on.QueryRowContext(ctx, query, args...).Scan(&v); err != nil {
		t.Fatalf("%.300s: %v", query, err)
	}
	return v
}

// Column returns the values of the rows of a query that has one column.
func Column[T any](t testing.TB, on Queryer, query string, args ...any) (values []T) {
	t.Helper()
	ctx, cancel := bounded(t)
	defer cancel()
	rows, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		t.Fatalf("%.300s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		Must(t, rows.Scan(&v))
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%.300s: %v", query, err)
	}
	return values
}

// bounded is for one statement, which may also be part of a test's cleaning up.
func bounded(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(t.Context()), Patience)
}

// Begin begins a transaction, READ COMMITTED unless told otherwise, which is rolled back when the test ends if not before.
func Begin(t testing.TB, db *sql.DB, isolation ...sql.IsolationLevel) *sql.Tx {
	t.Helper()
	options := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	if len(isolation) > 0 {
		options.Isolation = isolation[0]
	}
	// Not the test's context: its end would roll back while a goroutine of database/sql looks on.
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), options)
	Must(t, err)
	t.Cleanup(func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			t.Logf("rollback: %v", err)
		}
	})
	return tx
}

const waiting = `
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'`

// Waiters waits until at least n sessions of db's database wait for a lock.
func Waiters(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	Until(t, "sessions wait for a lock", func() bool { return One[int](t, db, waiting) >= n })
}
