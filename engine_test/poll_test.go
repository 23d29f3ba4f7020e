package engine_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// What an idle worker's poll may read, in pages of 8 kB: the worker's row and the way down one index, with room for pages
// that a vacuum has yet to clean.
const pollPages = 12

// An idle worker asks all the time. What is parked, finished, or of workflows that it does not know costs it nothing.
func TestPollAmongManyRuns(t *testing.T) {
	t.Parallel()
	pg := pgtest.New(t)
	side := pg.Open(t, pgtest.PQ)
	p, db := newProcess(t, pg, pgtest.PGX, "idle", cut{})
	w := &theatre{way: everyWay[1]}
	svc := w.service(t, db)
	svc.Register(workflow.Define("known", func(context.Context, int) (int, error) { return 1, nil }))
	kit.Exec(t, side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
		SELECT 'parked' || n, 'known', 'suspended', '1'::jsonb, ms, ms, ms + 3600000 + n
		FROM generate_series(1, 100000) AS n, (SELECT extract(epoch FROM now())::bigint * 1000 AS ms) AS clock
		UNION ALL
		SELECT 'done' || n, 'known', 'completed', '1'::jsonb, ms, ms, NULL
		FROM generate_series(1, 20000) AS n, (SELECT extract(epoch FROM now())::bigint * 1000 AS ms) AS clock
		UNION ALL
		SELECT 'foreign' || n, 'unknown', 'pending', '1'::jsonb, ms, ms, ms
		FROM generate_series(1, 20000) AS n, (SELECT extract(epoch FROM now())::bigint * 1000 AS ms) AS clock`)
	kit.Work(t, svc)
	var claim sent
	kit.Until(t, "the worker polls", func() (polled bool) {
		claim, polled = p.newest("claim_runs")
		return polled
	})

	for _, statistics := range []string{"without statistics", "with statistics"} {
		if statistics == "with statistics" {
			kit.Exec(t, side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_workers")
		}
		for _, plan := range []string{"force_custom_plan", "force_generic_plan"} { // a driver prepares; the server chooses
			t.Run(statistics+", "+plan, func(t *testing.T) {
				conn := prepared(t, pg, plan, map[string]sent{"claim_runs": claim})
				root := leastPrepared(t, conn, "claim_runs", claim, pollPages)
				if got := root.pages(); got > pollPages {
					t.Errorf("an empty poll read %d pages, want at most %d:\n%s", got, pollPages, root)
				}
				if !root.uses("workflow_runs_runnable") {
					t.Errorf("not by the index:\n%s", root)
				}
			})
		}
	}
}

type planNode map[string]any

func (n planNode) pages() int {
	hit, _ := n["Shared Hit Blocks"].(float64)
	read, _ := n["Shared Read Blocks"].(float64)
	return int(hit + read)
}

func (n planNode) uses(index string) bool {
	if n["Index Name"] == index && n["Node Type"] == "Index Scan" {
		return true
	}
	children, _ := n["Plans"].([]any)
	for _, child := range children {
		if planNode(child.(map[string]any)).uses(index) {
			return true
		}
	}
	return false
}

func (n planNode) String() string {
	text, _ := json.MarshalIndent(n, "", " ")
	return string(text)
}
