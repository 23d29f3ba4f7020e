package pg_test

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A server answers after its caller has given up: what was taken for that comes back to the pool.
func TestConnectionIsNotLostWithItsCaller(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]pg.Statements{"auto": pg.Auto, "in transactions": pg.InTx} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, w := pqThings(t, pgtest.PQ)
			db.SetMaxOpenConns(1)
			_, err := pg.New(db, pg.Options{Statements: mode, Timeout: kit.Patience}).Exec(t.Context(), writeOne, 1)
			kit.Must(t, err)
			thaw := w.Freeze(t)
			st := pg.New(db, pg.Options{Statements: mode, Timeout: 20 * time.Millisecond}) // it knows no connection yet
			_, err = st.Exec(t.Context(), writeOne, 2)
			kit.WantIs(t, err, pg.ErrTimeout)
			thaw()
			kit.Until(t, "the only connection is free again", func() bool { return db.Stats().InUse == 0 })
		})
	}
}
