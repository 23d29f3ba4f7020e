package web_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/web"
)

// much is a schema in which there is much of everything, and of what pages look for among it nothing.
const much = `
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, owner, run_at, queue, priority, partition_key, suspended_for, parent_id, parent_step)
	SELECT 'run ' || n, 'order', status, '{"order": 1}', CASE status WHEN 'completed' THEN to_jsonb(repeat('x', 100)) END, now.ms - $1::bigint + n, now.ms,
	       CASE status WHEN 'running' THEN 'worker ' || n % 50 + 1 END,
	       CASE WHEN n % 10 = 1 THEN n WHEN n % 10 = 2 THEN 9000000000000 END, queue, CASE WHEN queue IS NOT NULL THEN 2 END, CASE WHEN queue IS NOT NULL THEN '' END,
	       CASE status WHEN 'suspended' THEN 'time' END, CASE n % 10 WHEN 4 THEN 'run 7' END, CASE n % 10 WHEN 4 THEN 'all' END
	FROM generate_series(1, $1::int) AS n
	CROSS JOIN LATERAL (
	    SELECT CASE n % 10 WHEN 1 THEN 'pending' WHEN 2 THEN 'suspended' WHEN 3 THEN 'running' ELSE 'completed' END AS status,
	           CASE WHEN n % 10 IN (1, 2, 3) THEN 'queue ' || n % 2 END AS queue
	) AS kind
	CROSS JOIN (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms) AS now`

const muchOfOne = `
	INSERT INTO workflows.workflow_queues (name, created_at, updated_at) SELECT 'queue ' || n, 1, 1 FROM generate_series(0, 20) AS n;
	INSERT INTO workflows.workflow_workers (id, expires_at, started_at, host, workflows) SELECT 'worker ' || n, 9000000000000, n, 'host', '{order}' FROM generate_series(1, 50) AS n;
	INSERT INTO workflows.workflow_attributes (created_at, run_id, name, value) SELECT created_at, id, name, '1' FROM workflows.workflow_runs, unnest('{shop,day}'::text[]) AS name;
	INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, result, seq, started_at, updated_at, request)
	SELECT 'run 7', 'step ' || n, 'succeeded', NULL, to_jsonb(repeat('x', 2000)), n, n, n, NULL::jsonb FROM generate_series(1, 10000) AS n
	UNION ALL
	SELECT 'run ' || n * 10 + 2, 'ask', 'scheduled', 'approval', NULL, 1, n, n, '{"from": ["anna"]}'::jsonb FROM generate_series(1, 2000) AS n;
	INSERT INTO workflows.workflow_signals (seq, run_id, name, payload, sent_at) SELECT n, 'run 7', 'note', to_jsonb(repeat('x', 500)), n FROM generate_series(1, 10000) AS n;
	INSERT INTO workflows.workflow_schedules (created_at, updated_at, next_at, every, catch_up, jitter, name, workflow, zone, overlap, input)
	SELECT 1, 1, 9000000000000, 60000, 0, 0, 'schedule ' || n, 'order', '', 'skip', '1' FROM generate_series(1, 100) AS n`

// Each page sends a few statements, of which each reads a bounded number of pages of 8 kB, however many runs there are, and writes nothing.
// With -v it says what they take; a million runs (make soak) are made in a minute or two.
func TestPagesAmongManyRuns(t *testing.T) {
	t.Parallel()
	runs := 30_000
	if pgtest.Soak() {
		runs = 1_000_000
	}
	database := pgtest.New(t)
	plain := database.Open(t, pgtest.PGX)
	conn, err := plain.Conn(t.Context())
	kit.Must(t, err)
	kit.Exec(t, conn, "SET session_replication_role = replica") // no check of foreign keys, which are true by construction
	_, err = conn.ExecContext(t.Context(), much, runs)
	kit.Must(t, err)
	_, err = conn.ExecContext(t.Context(), muchOfOne)
	kit.Must(t, err)
	_, err = conn.ExecContext(t.Context(), "VACUUM ANALYZE workflows.workflow_runs")
	kit.Must(t, err)
	kit.Must(t, conn.Close())

	db, counter, err := counting.Open(pgtest.PGX.Driver, database.AccessURL(t, pgtest.PGX))
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	svc, err := workflow.New(workflow.Config{DB: db, Timeout: kit.Patience})
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	dashboard := web.New(svc, web.Options{})
	// Where a run is looked up for each entry of an index that is walked, where children lie apart, and where queues and their workers are
	// counted, it is more, and no more among a million. Of approvals the planner may take all that are open and sort those that pass.
	more := map[string]int{
		"runs?status=failed&attributes=shop%3D1": 20_000, "runs?status=failed&attributes=shop%3D1+day%3D1": 35_000,
		"runs?parent=run+7": 12_000, "runs?parent=run+7&status=failed": 12_000, "run?id=run+7": 12_000, "run?id=run+11": 8_000,
		"approvals": 8_000, "approvals?from=anna": 8_000, "approvals?from=nobody": 8_000,
	}
	for _, page := range []string{
		"", "?window=7d", "runs", "runs?status=failed", "runs?workflow=none", "runs?queue=none", "runs?for=blocked", "runs?status=failed&attributes=shop%3D1",
		"runs?status=failed&attributes=shop%3D1+day%3D1", "runs?attributes=shop%3Dnone", "runs?parent=run+7", "runs?parent=run+7&status=failed",
		"runs?to=2001-01-01", "run?id=run+7", "run?id=run+11", "run?id=run+12", "queues", "schedules", "approvals", "approvals?from=anna", "approvals?from=nobody", "workers",
	} {
		counter.Explain(nil)
		dashboard.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/"+page, http.NoBody)) // the first may set hint bits
		counter.Take()
		all := 0
		counter.Explain(func(text string, plan []byte) {
			var plans []struct{ Plan map[string]any }
			kit.Must(t, json.Unmarshal(plan, &plans))
			number := func(key string) int { n, _ := plans[0].Plan[key].(float64); return int(n) }
			pages := number("Shared Hit Blocks") + number("Shared Read Blocks")
			all += pages
			if most := cmp.Or(more[page], 2_500); pages > most || number("WAL Bytes") > 0 {
				t.Errorf("%q among %d runs: %s reads %d pages and writes %d bytes of WAL; want %d at most, and none:\n%s",
					page, runs, pg.NameOf(text), pages, number("WAL Bytes"), most, plan)
			}
		})
		answer := httptest.NewRecorder()
		dashboard.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/"+page, http.NoBody))
		if answer.Code != http.StatusOK {
			t.Errorf("%q: status %d: %s", page, answer.Code, answer.Body)
		}
		sent := counter.Take().Statements
		t.Logf("%q among %d runs: %d statements, %d pages, %d bytes of HTML", page, runs, sent, all, answer.Body.Len())
		if sent > 10 || answer.Body.Len() > 2<<20 {
			t.Errorf("%q: %d statements, %d bytes of HTML; want 10 and 2 MB at most", page, sent, answer.Body.Len())
		}
	}
}
