package pg_test

import (
	"database/sql"
	"testing"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// openPQ opens a pool of lib/pq's own connections, and returns what they send.
func openPQ(t *testing.T, dsn string) (*sql.DB, *kit.Wires) {
	t.Helper()
	connector, err := pq.NewConnector(dsn)
	kit.Must(t, err)
	w := new(kit.Wires)
	connector.Dialer(w)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	return db, w
}

// pqThings is a pool of lib/pq's on a database with a table.
func pqThings(t *testing.T, access pgtest.Access, setUp ...string) (*sql.DB, *kit.Wires) {
	t.Helper()
	database := pgtest.Empty(t)
	side := database.Open(t, pgtest.PGX)
	kit.Exec(t, side, `CREATE TABLE things (n int)`)
	for _, statement := range setUp {
		kit.Exec(t, side, statement)
	}
	return openPQ(t, database.AccessURL(t, access))
}

const inDatabase = `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET `

// What a lone statement costs on lib/pq, in round trips: the first on a connection, which is asked what it is and
// where the statement is prepared if it is direct, and those after.
func TestRoundTripsOfPQ(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		access      pgtest.Access
		mode        pg.Statements
		setUp       string
		first, then int64
	}{
		"default":                   {access: pgtest.PQ, first: 1 + 2, then: 1},
		"binary_parameters":         {access: pgtest.PQBinary, first: 1 + 2, then: 1},
		"pooled":                    {access: pgtest.PQ.In("transaction"), first: 1 + 4, then: 4},
		"pooled, binary_parameters": {access: pgtest.PQBinary.In("transaction"), first: 1 + 1, then: 1},
		"told so":                   {access: pgtest.PQ, mode: pg.InTx, first: 4, then: 4},
		"another isolation": {
			access: pgtest.PQ, setUp: inDatabase + `default_transaction_isolation = serializable', current_database()); END $$`,
			first: 1 + 4, then: 4,
		},
		"read-only unless told": {
			access: pgtest.PQ, setUp: inDatabase + `default_transaction_read_only = on', current_database()); END $$`,
			first: 1 + 4, then: 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setUp := []string{inDatabase + `default_transaction_isolation = "read committed"', current_database()); END $$`, `SELECT 1`}
			if test.setUp != "" {
				setUp = append(setUp, test.setUp)
			}
			db, w := pqThings(t, test.access, setUp...)
			kit.Must(t, db.PingContext(t.Context()))
			st := pg.New(db, pg.Options{Statements: test.mode, Timeout: kit.Patience})
			for i, want := range []int64{test.first, test.then, test.then} {
				w.Sent()
				if n, err := st.Exec(t.Context(), writeOne, i); err != nil || n != 1 {
					t.Fatalf("wrote %d rows, %v", n, err)
				}
				if got := w.Sent(); got != want {
					t.Errorf("statement %d took %d round trips, want %d", i+1, got, want)
				}
			}
			if n := kit.One[int](t, db, `SELECT count(*) FROM things`); n != 3 {
				t.Errorf("%d rows, want 3", n)
			}
		})
	}
}

// A connection that replaces another one is asked anew, and the one that is held for long is asked once.
func TestEachConnectionIsAsked(t *testing.T) {
	t.Parallel()
	db, w := pqThings(t, pgtest.PQ)
	db.SetMaxIdleConns(1)
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	var before, after int
	kit.Must(t, st.Get(t.Context(), &before, backend))
	w.Sent()
	kit.Must(t, st.Get(t.Context(), &before, backend))
	if n := w.Sent(); n != 1 {
		t.Errorf("%d round trips on a connection that is known, want the statement's own, which has no arguments", n)
	}
	db.SetMaxIdleConns(-1)
	db.SetMaxIdleConns(1)
	opened := w.Opened()
	kit.Must(t, st.Get(t.Context(), &after, backend))
	if before == after || w.Opened() != opened+1 {
		t.Fatalf("backends %d and %d, %d connections opened", before, after, w.Opened()-opened)
	}
	held, giveBack, err := st.Hold(t.Context())
	kit.Must(t, err)
	defer giveBack()
	w.Sent()
	kit.Must(t, held.Get(t.Context(), &after, backend))
	if n := w.Sent(); n != 1 {
		t.Errorf("%d round trips on a held connection that is known, want 1", n)
	}
}

// Somebody has given back a connection with a transaction that is still open: nothing is written into that.
func TestTransactionLeftOpen(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PQBinary} {
		for name, mode := range map[string]pg.Statements{"auto": pg.Auto, "single": pg.Single} {
			t.Run(access.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				database := pgtest.Empty(t)
				side := database.Open(t, pgtest.PGX)
				kit.Exec(t, side, `CREATE TABLE things (n int)`)
				db, _ := openPQ(t, database.AccessURL(t, access))
				db.SetMaxOpenConns(1)
				st := pg.New(db, pg.Options{Statements: mode, Timeout: kit.Patience})
				for written, connection := range []string{"a new one", "one that is known"} {
					if written > 0 {
						var n int
						kit.Must(t, st.Get(t.Context(), &n, readOne))
					}
					kit.Exec(t, db, `BEGIN`)
					_, err := st.Exec(t.Context(), writeOne, 1)
					kit.Must(t, err)
					if n := kit.One[int](t, side, `SELECT count(*) FROM things`); n != written+1 {
						t.Errorf("%s: %d rows are committed, want %d", connection, n, written+1)
					}
				}
			})
		}
	}
}

// A direct connection on which the server said good-bye while it lay in the pool is found out before a statement is sent.
func TestEndedConnectionOfPQ(t *testing.T) {
	t.Parallel()
	db, w := pqThings(t, pgtest.PQ)
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	conn := make([]int, 2)
	for i := range conn {
		kit.Must(t, st.Get(t.Context(), &conn[i], backend))
	}
	if conn[0] != conn[1] {
		t.Fatalf("two backends: %v", conn)
	}
	side := pgtest.Empty(t).Open(t, pgtest.PGX)
	kit.Exec(t, side, `SELECT pg_terminate_backend($1)`, conn[0])
	kit.Until(t, "the session is gone", func() bool {
		return kit.One[int](t, side, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, conn[0]) == 0
	})
	opened := w.Opened()
	n, err := st.Exec(t.Context(), writeOne, 1)
	if err != nil || n != 1 || w.Opened() != opened+1 {
		t.Fatalf("wrote %d rows, %v, on %d new connections", n, err, w.Opened()-opened)
	}
	if n := kit.One[int](t, db, `SELECT count(*) FROM things`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}
