package store_test

import (
	"database/sql"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// A limit is what a statement may cost: pages of 8 kB that it reads, and bytes of WAL.
type limit struct{ pages, wal int }

// unbounded is the limit of what is not counted.
const unbounded = math.MaxInt

func (l limit) String() string {
	if l.wal == unbounded {
		return fmt.Sprintf("%d pages", l.pages)
	}
	return fmt.Sprintf("%d pages, %d bytes of WAL", l.pages, l.wal)
}

// A spent is what a statement cost, with what it does behind its answer.
type spent struct {
	limit
	xid  bool
	plan plan
}

func spentOn(p plan) spent { return spent{limit: limit{p.pages(), p.wal()}, plan: p} }

func (s spent) within(most limit) bool { return s.pages <= most.pages && s.wal <= most.wal }

// settling is for how long a statement may cost more than it should.
const settling = 2 * time.Second

// least executes a statement until it costs no more than this, and returns what it cost at last. The first execution sets hint bits and
// reads the catalog, any may split a page of an index or prune one of a table, and while somebody else reads the database, such as
// autovacuum, dead entries are walked: all that passes. What the statement itself costs does not.
func least(t *testing.T, what string, most limit, execute func() spent) (s spent) {
	t.Helper()
	began := time.Now()
	for n := 0; n == 0 || !s.within(most) && (n < 10 || time.Since(began) < settling); n++ {
		if n > 1 {
			kit.Pause(t.Context(), 20*time.Millisecond)
		}
		s = execute()
	}
	t.Logf("%s: %s, at most %s", what, s.limit, most)
	return s
}

// leastPrepared is least of a statement that is prepared on a connection, which must write if it may, and only then. Nor may it
// read all of a table.
func leastPrepared(t *testing.T, conn *sql.Conn, what, execute string, most limit) spent {
	t.Helper()
	s := least(t, what, most, func() spent { return spends(t, conn, execute) })
	if !s.within(most) || s.xid != (most.wal > 0) {
		t.Errorf("%s: %d pages, %d bytes of WAL, transaction id %t, want at most %d, %d:\n%s",
			what, s.pages, s.wal, s.xid, most.pages, most.wal, s.plan)
	}
	return s
}

// spends executes a prepared statement and rolls it back.
func spends(t *testing.T, conn *sql.Conn, execute string) spent {
	t.Helper()
	tx, err := conn.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	kit.Must(t, err)
	defer func() { kit.Must(t, tx.Rollback()) }()
	s := spentOn(explained(t, tx, execute))
	for _, child := range s.plan.children() {
		if child["Subplan Name"] == "CTE raised" { // nothing of the answer is read from it
			s.pages, s.wal = s.pages+child.pages(), s.wal+child.wal()
		}
	}
	s.xid = kit.One[bool](t, tx, `SELECT pg_current_xact_id_if_assigned() IS NOT NULL`)
	return s
}

// spendsOf is spends of a statement with arguments as literals.
func (b *bundle) spendsOf(t *testing.T, text string, args ...string) spent {
	t.Helper()
	tx := kit.Begin(t, b.side)
	defer func() { kit.Must(t, tx.Rollback()) }()
	s := spentOn(explain(t, tx, text, args...))
	s.xid = kit.One[bool](t, tx, `SELECT pg_current_xact_id_if_assigned() IS NOT NULL`)
	return s
}
