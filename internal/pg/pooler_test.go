package pg_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Statements of one shape with other meanings: whichever server process has parsed another one answers wrongly, without an error.
var asked = []*pg.Query{
	pg.DefineRead("plus", `SELECT 'plus ' || ($1::int + 1)`),
	pg.DefineRead("minus", `SELECT 'minus ' || ($1::int - 1)`),
	pg.DefineRead("times", `SELECT 'times ' || ($1::int * 2)`),
	pg.Define("write_other", `INSERT INTO things VALUES ($1::int) RETURNING 'wrote ' || n`),
}

func answers(n int) []string {
	return []string{fmt.Sprintf("plus %d", n+1), fmt.Sprintf("minus %d", n-1), fmt.Sprintf("times %d", n*2), fmt.Sprintf("wrote %d", n)}
}

// askAll has many clients ask at a time, and returns how many answers were right and the first error. A wrong answer ends the test.
func askAll(t *testing.T, st *pg.DB) (right int, failed error) {
	t.Helper()
	const clients, rounds = 12, 12
	wrong := errors.New("a wrong answer")
	rights := make([]int, clients)
	for _, err := range kit.Together(clients, func(c int) error {
		var failed error
		for n := range rounds {
			n := c*1000 + n
			for i, want := range answers(n) {
				var got string
				switch err := st.Get(t.Context(), &got, asked[i], n); {
				case err != nil:
					failed = err
				case got != want:
					return fmt.Errorf("%w: %q, want %q", wrong, got, want)
				default:
					rights[c]++
				}
			}
		}
		return failed
	}) {
		if errors.Is(err, wrong) {
			t.Fatal(err)
		}
		if failed == nil {
			failed = err
		}
	}
	for _, n := range rights {
		right += n
	}
	return right, failed
}

// mustAskAll is askAll where there is no error either.
func mustAskAll(t *testing.T, st *pg.DB) {
	t.Helper()
	right, err := askAll(t, st)
	if err != nil {
		t.Fatalf("%d right answers, then %v", right, err)
	}
}

// costs checks how many round trips a lone statement takes, on a connection of the pool that is known already.
func costs(t *testing.T, st *pg.DB, w *kit.Wires, want int64) {
	t.Helper()
	var got string
	kit.Must(t, st.Get(t.Context(), &got, asked[0], 1))
	w.Sent()
	kit.Must(t, st.Get(t.Context(), &got, asked[0], 1))
	if n := w.Sent(); n != want {
		t.Errorf("a statement took %d round trips, want %d", n, want)
	}
}

// Behind PgBouncer in each of its modes no answer is wrong. A statement-mode pool refuses transactions, and so everything but
// binary_parameters.
func TestNoWrongAnswerInAnyPoolMode(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PQBinary} {
		for _, mode := range []string{"session", "transaction", "statement"} {
			access := access.In(mode)
			t.Run(access.Name, func(t *testing.T) {
				t.Parallel()
				db, w := pqThings(t, access)
				db.SetMaxIdleConns(3)
				if mode == "session" {
					db.SetMaxOpenConns(3) // more would wait for these to be closed
				}
				st := pg.New(db, pg.Options{Timeout: kit.Patience})
				if mode == "statement" && access.Params == nil {
					var got string
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if err := st.Get(ctx, &got, asked[0], 1); err == nil {
						t.Errorf("answered %q, want an error: only a transaction would be safe", got)
					}
					return
				}
				mustAskAll(t, st)
				costs(t, st, w, map[bool]int64{true: 1, false: 4}[access.Params != nil])
			})
		}
	}
}

// A pooler that passes on the start-up key of a server connection, and changes it after each transaction, is no direct
// connection, though its first answer comes from the backend of that key.
func TestPoolerThatPassesOnTheKey(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	kit.Exec(t, database.Open(t, pgtest.PGX), `CREATE TABLE things (n int)`)
	db, w := openPQ(t, database.AccessURL(t, pgtest.PQ))
	p := newSwitcher(t, hostOf(t, database))
	w.LeadTo(p.addr)
	db.SetMaxIdleConns(12)

	conn, err := db.Conn(t.Context())
	kit.Must(t, err)
	if pid := kit.One[int](t, conn, `SELECT pg_backend_pid()`); pid != keyOf(t, conn) {
		t.Fatalf("backend %d, key %d: the pooler is not as bad as it should be", pid, keyOf(t, conn))
	}
	kit.Must(t, conn.Close())
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	mustAskAll(t, st)
	costs(t, st, w, 4)
}

// The address of a pool that lives moves from the server behind a pooler: each new connection is judged anew.
func TestPoolMovesBehindPooler(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction", "statement"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			kit.Exec(t, database.Open(t, pgtest.PGX), `CREATE TABLE things (n int)`)
			pooler, err := url.Parse(database.AccessURL(t, pgtest.PQ.In(mode)))
			kit.Must(t, err)
			db, w := openPQ(t, database.AccessURL(t, pgtest.PQ))
			db.SetMaxIdleConns(12)
			st := pg.New(db, pg.Options{Timeout: kit.Patience})
			mustAskAll(t, st)
			costs(t, st, w, 1)

			w.LeadTo(pooler.Host)
			db.SetMaxIdleConns(3) // some connections are direct still
			if mode != "statement" {
				db.SetMaxOpenConns(map[string]int{"session": 6, "transaction": 12}[mode])
				mustAskAll(t, st)
			}
			db.SetMaxIdleConns(-1)
			db.SetMaxIdleConns(1)
			if mode == "statement" {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var got string
				if err := st.Get(ctx, &got, asked[0], 1); err == nil {
					t.Errorf("answered %q, want an error: only a transaction would be safe", got)
				}
				return
			}
			mustAskAll(t, st)
			costs(t, st, w, 4)
		})
	}
}

// The same behind an address that ends TCP itself: nothing is known to be direct there, before or after.
func TestProxyMovesBehindPooler(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	kit.Exec(t, database.Open(t, pgtest.PGX), `CREATE TABLE things (n int)`)
	pooler, err := url.Parse(database.AccessURL(t, pgtest.PQ.In("transaction")))
	kit.Must(t, err)
	db, w := openPQ(t, database.AccessURL(t, pgtest.PQ))
	p := newProxy(t, hostOf(t, database))
	w.LeadTo(p.addr)
	db.SetMaxIdleConns(12)
	st := pg.New(db, pg.Options{Timeout: kit.Patience})
	mustAskAll(t, st)
	costs(t, st, w, 4)
	p.target.Store(&pooler.Host)
	db.SetMaxIdleConns(6)
	mustAskAll(t, st)
	costs(t, st, w, 4)
}

func hostOf(t *testing.T, database *pgtest.Database) string {
	t.Helper()
	u, err := url.Parse(database.AccessURL(t, pgtest.PQ))
	kit.Must(t, err)
	return u.Host
}
