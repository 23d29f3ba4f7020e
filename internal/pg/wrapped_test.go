package pg_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A wrapper has a connection of lib/pq's inside, as drivers that trace or count do.
type wrapper struct {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.QueryerContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
}

// ownConnector makes connections as an application's own connector does: lib/pq's, or wrappers of those.
type ownConnector struct {
	*pq.Connector
	wraps bool
}

func (c ownConnector) Driver() driver.Driver { return c }

func (c ownConnector) Open(string) (driver.Conn, error) { return c.Connect(context.Background()) }

func (c ownConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil || !c.wraps {
		return conn, err
	}
	return wrapper{
		conn, conn.(driver.ConnBeginTx), conn.(driver.ConnPrepareContext), conn.(driver.QueryerContext), conn.(driver.ExecerContext),
		conn.(driver.NamedValueChecker), conn.(driver.SessionResetter), conn.(driver.Validator),
	}, nil
}

// It is the connection that counts: one of lib/pq's own is known whoever has made it, and a wrapped one is not, though it is direct.
func TestWrappedPQ(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		access pgtest.Access
		wraps  bool
		trips  int64
	}{
		"an own connector":           {pgtest.PQ, false, 1},
		"a wrapped connection":       {pgtest.PQ, true, 4},
		"a wrapped one, pooled":      {pgtest.PQ.In("transaction"), true, 4},
		"an own connector, pooled":   {pgtest.PQ.In("transaction"), false, 4},
		"a wrapped one, with binary": {pgtest.PQBinary, true, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			kit.Exec(t, database.Open(t, pgtest.PGX), `CREATE TABLE things (n int)`)
			connector, err := pq.NewConnector(database.AccessURL(t, test.access))
			kit.Must(t, err)
			w := new(kit.Wires)
			connector.Dialer(w)
			db := sql.OpenDB(ownConnector{connector, test.wraps})
			t.Cleanup(func() { kit.Must(t, db.Close()) })
			db.SetMaxIdleConns(12)
			st := pg.New(db, pg.Options{Timeout: kit.Patience})
			mustAskAll(t, st)
			costs(t, st, w, test.trips)
		})
	}
}
