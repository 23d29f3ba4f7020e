package store_test

import (
	"context"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A look at queues reads as much among many runs that wait, run or sleep as among those that it counts: planned on empty tables or with
// statistics, and it writes nothing.
func TestLookAtQueuesAmongMany(t *testing.T) {
	t.Parallel()
	runs := 20_000
	if pgtest.Soak() {
		runs = 1_000_000
	}
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience})
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	defer conn.Close()
	sent := func(statement string, args ...any) {
		t.Helper()
		_, err := conn.ExecContext(context.WithoutCancel(t.Context()), statement, args...)
		kit.Must(t, err)
	}
	text := statement(t, counter, "look_at_queues", func() error { _, err := st.LookAtQueues(t.Context(), 1); return err })
	sent("SET plan_cache_mode = force_generic_plan")
	sent("PREPARE look AS " + text)
	sent("EXECUTE look (100)")
	kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "waits"}))
	kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "sleeps"}))
	kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "empty"}))
	sent(`
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT 'w' || n, 'w', CASE n % 2 WHEN 0 THEN 'running' ELSE 'pending' END, '1'::jsonb, n, n, CASE n % 2 WHEN 1 THEN n END, 'waits', 2, ''
		FROM generate_series(1, $1::int) AS n
		UNION ALL
		SELECT 's' || n, 'w', 'suspended', '1'::jsonb, n, n, 9000000000000, 'sleeps', 2, '' FROM generate_series(1, $1::int) AS n`, runs)
	sent("VACUUM workflows.workflow_runs")
	for _, planned := range []string{"on empty tables", "with statistics"} {
		if planned == "with statistics" {
			sent("ANALYZE workflows.workflow_runs; DEALLOCATE ALL")
			sent("PREPARE look AS " + text)
		}
		explained(t, conn, "EXECUTE look (100)") // the first may set hint bits
		if p := explained(t, conn, "EXECUTE look (100)"); p.pages() > 60 || p.wal() > 0 {
			t.Errorf("among %d runs, planned %s: %d pages, %d bytes of WAL; want 60 at most, and none:\n%s", runs, planned, p.pages(), p.wal(), p)
		}
	}
}
