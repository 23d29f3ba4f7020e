package store_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Lists of what is open, and of a run's children, go by indexes of their own: planned on empty tables or with statistics, they read
// a few pages however many runs and steps there are, and write nothing.
func TestListsAmongManyRuns(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience})
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	defer conn.Close()
	sent := func(statement string) {
		t.Helper()
		_, err := conn.ExecContext(context.WithoutCancel(t.Context()), statement)
		kit.Must(t, err)
	}
	lists := map[string]struct {
		execute string
		do      func() error
	}{
		"list_approvals": {"EXECUTE list_approvals (NULL, '', '', 'anna', '21')", func() error {
			_, err := st.ListApprovals(t.Context(), store.ApprovalFilter{Limit: 20})
			return err
		}},
		"list_children": {"EXECUTE list_children (NULL, NULL, NULL, NULL, NULL, NULL, '101', NULL, NULL, 'done7', NULL, NULL, 10000)", func() error {
			_, err := st.ListRuns(t.Context(), store.RunFilter{Limit: 100, ParentID: "done7"})
			return err
		}},
	}
	texts := make(map[string]string)
	sent("SET plan_cache_mode = force_generic_plan")
	for name, list := range lists {
		texts[name] = statement(t, counter, name, list.do)
		sent("PREPARE " + name + " AS " + texts[name])
		sent(list.execute)
	}
	sent(full)
	sent(`
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
		SELECT 'child' || n, 'c', 'completed', '1', n, n, 'done' || n / 4, 'all' FROM generate_series(1, 20000) AS n`)
	sent(`
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at, request)
		SELECT 'parked' || n, 'ask', CASE WHEN n % 20 = 0 THEN 'scheduled' ELSE 'succeeded' END, 'approval', 1, n, n, '{"from": ["anna"]}'::jsonb
		FROM generate_series(1, 20000) AS n
		UNION ALL
		SELECT 'done' || n, 'step', 'succeeded', NULL, 1, n, n, NULL::jsonb FROM generate_series(1, 20000) AS n`)
	for _, planned := range []string{"on empty tables", "with statistics"} {
		if planned == "with statistics" {
			sent("ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_steps; DEALLOCATE ALL")
			for name, text := range texts {
				sent("PREPARE " + name + " AS " + text)
			}
		}
		for name, list := range lists {
			p := least(t, name+", planned "+planned, limit{pages: 200}, func() spent { return spentOn(explained(t, conn, list.execute)) }).plan
			if pages := p.pages(); pages > 200 || p.wal() > 0 {
				t.Errorf("%s, planned %s, reads %d pages and writes %d bytes of WAL, want at most 200, and none:\n%s", name, planned, pages, p.wal(), p)
			}
		}
	}
}

// explained executes a prepared statement.
func explained(t *testing.T, conn kit.Queryer, execute string) plan {
	t.Helper()
	var plans []struct{ Plan plan }
	kit.Must(t, json.Unmarshal(kit.One[[]byte](t, conn, "EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) "+execute), &plans))
	return plans[0].Plan
}
