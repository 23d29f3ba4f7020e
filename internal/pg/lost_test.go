package pg_test

import (
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// The connection breaks between a statement's commit and its answer. lib/pq says driver.ErrBadConn, which means that nothing was sent:
// nobody is told that, and the statement is not sent again.
func TestLostAnswerOfPQ(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PQBinary, pgtest.PQBinary.In("transaction")} {
		for name, mode := range map[string]pg.Statements{"auto": pg.Auto, "single": pg.Single} {
			t.Run(access.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				db, w := pqThings(t, access)
				st := pg.New(db, pg.Options{Statements: mode, Timeout: kit.Patience})
				_, err := st.Exec(t.Context(), writeOne, 1)
				kit.Must(t, err)
				w.LoseAnswer()
				_, err = st.Exec(t.Context(), writeOne, 2)
				if err == nil || errors.Is(err, driver.ErrBadConn) {
					t.Errorf("%v, want an error that leaves open whether it was written", err)
				}
				_, err = st.Exec(t.Context(), writeOne, 3)
				kit.Must(t, err)
				if n := kit.One[int](t, db, `SELECT count(*) FROM things WHERE n = 2`); n != 1 {
					t.Errorf("written %d times, want once", n)
				}
			})
		}
	}
}
