package store_test

import (
	"database/sql"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// What was pruned stays in the table and its indexes until it is vacuumed, for ever while there is an old snapshot elsewhere. A claim reads
// as many pages then as before.
func TestClaimsBesidePrunedRuns(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	worker(t, st, "me")
	text := statement(t, counter, "claim_runs", func() error {
		_, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10, Suspects: true})
		return err
	})
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
		SELECT 'done' || n, 'w', 'completed', '1', n, n FROM generate_series(1, 20000) AS n`)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
		SELECT 'due' || n, 'w', 'pending', '1', n, n, n FROM generate_series(1, 100) AS n`)
	claim := func() spent { return b.spendsOf(t, text, "me", "{w}", "{0}", "10", "t") }
	claim() // the first one sets hint bits
	before := claim().pages
	old := kit.Begin(t, b.side, sql.LevelRepeatableRead)
	defer func() { kit.Must(t, old.Rollback()) }()
	kit.One[int](t, old, `SELECT count(*) FROM workflows.workflow_runs`)
	pruned := 0
	for request := (store.PruneRequest{Before: 1e12, Statuses: store.TerminalStatuses, Limit: 1000}); ; {
		stretch, err := st.PruneRuns(t.Context(), request, nil)
		kit.Must(t, err)
		pruned += len(stretch.RunIDs)
		if request.At = stretch.Next; request.At == (store.PruneKey{}) {
			break
		}
	}
	p := least(t, "a claim beside pruned runs", limit{before + 20, unbounded}, claim).plan
	if pruned != 20_000 || p.pages() > before+20 || len(p.scans()) > 0 {
		t.Errorf("%d runs were pruned; a claim reads %d pages, %d before, and all of %v:\n%s", pruned, p.pages(), before, p.scans(), p)
	}
}
