package pg

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A connection that is held is closed behind the statement that was left behind on its way to it, and not under it; what comes
// later is told that it is closed.
func TestHeldConnectionIsClosedBehindItsStatements(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t).Open(t, pgtest.PGX)
	d := New(pool, Options{Schema: pgtest.Schema, Timeout: kit.Patience})
	for name, send := range map[string]func(held *DB, f func()) error{
		"alone": func(held *DB, f func()) error {
			return held.onConn(t.Context(), func(conn *sql.Conn) error {
				f()
				_, err := conn.ExecContext(t.Context(), "SELECT 1")
				return err
			})
		},
		"in a transaction": func(held *DB, f func()) error {
			b, err := held.begin(t.Context(), sql.TxOptions{}, func(_ context.Context, _ *sql.Conn) (*link, error) { f(); return unknown, nil })
			if err != nil {
				return err
			}
			return b.tx.Rollback()
		},
	} {
		held, closeConn, err := d.Hold(t.Context())
		kit.Must(t, err)
		if err := send(held, closeConn); err != nil {
			t.Errorf("%s: a statement on its way: %v", name, err)
		}
		kit.Until(t, name+": the connection is given back", func() bool { return pool.Stats().InUse == 0 })
		if err := send(held, func() {}); !errors.Is(err, sql.ErrConnDone) {
			t.Errorf("%s: a statement after that: %v, want sql.ErrConnDone", name, err)
		}
	}
}
