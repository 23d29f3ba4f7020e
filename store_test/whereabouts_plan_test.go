package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// crowded is a fleet with a full queue of 100,000 runs, as many without a queue, 10,000 that are parked, finished ones, a family of
// 2,000 of which the last two are unfinished, and 20 workers.
const crowded = `
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key, owner)
	SELECT 'full' || n, 'w', CASE WHEN n <= 50 THEN 'running' ELSE 'pending' END, '1'::jsonb, n, n, CASE WHEN n > 50 THEN n END,
	       'full', 2, '', CASE WHEN n <= 50 THEN 'w' || n % 20 END
	FROM generate_series(1, 100000) AS n
	UNION ALL
	SELECT 'plain' || n, 'w', 'pending', '1'::jsonb, n, n, n, NULL, NULL, NULL, NULL FROM generate_series(1, 100000) AS n
	UNION ALL
	SELECT 'long' || n, 'w', 'pending', '1'::jsonb, n, n, n, 'long', 2, 'p' || n % 3, NULL FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'done' || n, 'w', 'completed', '1'::jsonb, n, n, NULL, 'full', 2, '', NULL FROM generate_series(1, 20000) AS n;
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, suspended_for, waits_for)
	SELECT 'parked' || n, 'w', 'suspended', '1'::jsonb, n, n, 9000000000000 + n, 'time', NULL::text[] FROM generate_series(1, 10000) AS n
	UNION ALL
	SELECT 'parent', 'w', 'suspended', '1'::jsonb, 1, 1, NULL, 'children', '{step:all}'::text[];
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, parent_id, parent_step)
	SELECT 'child' || lpad(n::text, 4, '0'), 'child', CASE WHEN n <= 1998 THEN 'completed' ELSE 'pending' END, '1'::jsonb, n, n,
	       CASE WHEN n > 1998 THEN 1 END, 'parent', 'all'
	FROM generate_series(1, 2000) AS n;
	INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at, waiting, wake_at, attempts)
	SELECT 'parent', 'all', 'scheduled', 'call', 1, 1, 1, 2, NULL::bigint, NULL::jsonb
	UNION ALL
	SELECT 'parked' || n, 'pay', 'pending', NULL, 1, n, n, NULL, 9000000000000 + n, '{"count": 3, "policy": {"max_attempts": 5}}'
	FROM generate_series(1, 10000) AS n
	UNION ALL
	SELECT 'parked7', 'done' || n, 'succeeded', NULL, 1, n, n, NULL, NULL, NULL FROM generate_series(1, 500) AS n`

// Why a run does not move is told from a bounded number of pages, each found by an index, whatever else there is, and whether the
// statement was planned on empty tables or with statistics.
func TestWhereaboutsAmongManyRuns(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience})
	kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "full", MaxRunning: 50, MaxPerWorker: 5, MaxPerPartition: 50, RateCount: 1, RateWindow: time.Hour}))
	kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "long"}))
	for n := range 20 {
		kit.Must(t, st.RegisterWorker(t.Context(), store.Worker{ID: fmt.Sprint("w", n), Workflows: []string{"w"}}, time.Hour))
	}
	text := statement(t, counter, "whereabouts", func() error {
		_, err := st.Whereabouts(t.Context(), "unknown")
		kit.WantIs(t, err, store.ErrRunNotFound)
		return nil
	})
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	defer conn.Close()
	sent := func(statement string) {
		t.Helper()
		_, err := conn.ExecContext(context.WithoutCancel(t.Context()), statement)
		kit.Must(t, err)
	}
	sent("SET plan_cache_mode = force_generic_plan")
	sent("PREPARE whereabouts AS " + text)
	sent("EXPLAIN EXECUTE whereabouts ('unknown')")
	sent(crowded)
	for _, planned := range []string{"on empty tables", "with statistics, for all arguments", "with statistics, for these arguments"} {
		if planned != "on empty tables" {
			sent("ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_steps; ANALYZE workflows.workflow_workers; DEALLOCATE ALL")
			if planned == "with statistics, for these arguments" {
				sent("SET plan_cache_mode = force_custom_plan")
			}
			sent("PREPARE whereabouts AS " + text)
		}
		for id, most := range map[string]int{
			"full7": 60, "parked77": 60, "done7": 60, "parent": 500,
			"full99999": 1300, "plain99999": 1300, "long19999": 1300, // a thousand are counted before them
			"parked7": 600, // it has 500 steps
		} {
			p := least(t, id+", planned "+planned, limit{pages: most}, func() spent {
				return spentOn(explained(t, conn, "EXECUTE whereabouts ('"+id+"')"))
			}).plan
			scans := p.scans()
			if p.pages() > most || p.wal() > 0 || slices.Contains(scans, "workflow_runs") || slices.Contains(scans, "workflow_steps") {
				t.Errorf("%s, planned %s, reads %d pages, scans %q and writes %d bytes of WAL; want at most %d, and none:\n%s",
					id, planned, p.pages(), scans, p.wal(), most, p)
			}
		}
	}

	where := func(id string) store.Whereabouts {
		t.Helper()
		where, err := st.Whereabouts(t.Context(), id)
		kit.Must(t, err)
		return where
	}
	if got := where("full99999"); got.Room.Running.Count != 50 || len(got.Room.Running.First) != 10 || got.Room.Running.First[0].RunID != "full1" || got.Ahead != 1000 {
		t.Errorf("on a full queue: %+v, %+v", got, got.Room)
	}
	if got := where("parent"); got.Children.Count != 2 || len(got.Children.First) != 2 || got.Children.First[0].RunID != "child1999" {
		t.Errorf("a parent: %+v", got)
	}
	if got := where("parked7"); got.Next.Name != "pay" || got.Next.Attempts.Count != 3 {
		t.Errorf("a further attempt: %+v", got)
	}
	for id, want := range map[string]int{"plain99999": 1000, "plain8": 7, "long19999": 1000, "long7": 2} {
		if got := where(id).Ahead; got != want {
			t.Errorf("%s: %d are due before it, want %d", id, got, want)
		}
	}
}
