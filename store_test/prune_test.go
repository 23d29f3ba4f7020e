package store_test

import (
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A batch costs as much among many runs as among few, planned on empty tables as well: what it reads goes with the batch. A look for
// nothing writes nothing.
func TestPrunePlans(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	size := "20000"
	if pgtest.Soak() {
		size = "1000000"
	}
	request := store.PruneRequest{Before: 1e15, Statuses: store.TerminalStatuses, Limit: 10}
	texts := make(map[string]string)
	for _, name := range []string{"find_old_runs", "lock_old_runs", "delete_runs"} {
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), b.newRun(t), "cancelled", nil, nil))
		texts[name] = statement(t, counter, name, func() error {
			_, err := st.FindOldRuns(t.Context(), request)
			if err == nil {
				_, err = st.PruneRuns(t.Context(), request, nil)
			}
			return err
		})
	}
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	defer func() { kit.Must(t, conn.Close()) }()
	kit.Exec(t, conn, "SET plan_cache_mode = force_generic_plan")
	const rows = "(0, '', 5000, 100, '{completed,failed,cancelled}', NULL, NULL, NULL)"
	tests := []struct {
		name, execute string
		most          limit
	}{
		{"a look", "EXECUTE find_old_runs " + rows, limit{1300, 0}},
		{"a look by attributes", "EXECUTE find_old_runs (0, '', 5000, 100, '{completed,failed,cancelled}', NULL, '{a,b}', '{1,2}')", limit{2000, 0}},
		{"a look that locks", "EXECUTE lock_old_runs " + rows, limit{1400, 100_000}},
		{"a look that finds nothing", "EXECUTE lock_old_runs (0, '', 1, 100, '{completed,failed,cancelled}', NULL, NULL, NULL)", limit{10, 0}},
		{"a deletion", "EXECUTE delete_runs ('{done1,done2,done3,done4,done5,done6,done7,done8,done9,done10}', 1)", limit{100, 20_000}},
	}
	for name, text := range texts {
		kit.Exec(t, conn, "PREPARE "+name+" AS "+text)
	}
	for _, test := range tests {
		kit.Exec(t, conn, "EXPLAIN "+test.execute)
	}
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id)
		SELECT 'done' || n, 'w', 'completed', '1'::jsonb, n, n, CASE WHEN n % 2 = 0 THEN 'done' || n / 2 END
		FROM generate_series(1, `+size+`) AS n`)
	for _, analysed := range []bool{false, true} {
		if analysed {
			kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs")
		}
		for _, test := range tests {
			what := fmt.Sprintf("%s, analysed %t", test.name, analysed)
			if got := leastPrepared(t, conn, what, test.execute, test.most); len(got.plan.scans()) > 0 {
				t.Errorf("%s: reads all of %v:\n%s", what, got.plan.scans(), got.plan)
			}
		}
	}
}
