package web_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

// The overview counts what has become of runs, draws it, and names what needs somebody.
func TestOverview(t *testing.T) {
	b := setup(t)
	b.get(web.Options{}, "").is(200, "No worker is alive", "none in this time", "There is no queue", "No run has failed")
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_workers (id, expires_at, started_at, host, workflows)
		VALUES ('living', 9000000000000, 1, 'here', '{order}'), ('dead', 5, 1, 'there', '{order}')`)
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "mails", MaxRunning: 3}))
	kit.Must(t, b.svc.PauseQueue(t.Context(), "mails"))
	kit.Must(t, workflow.Define[int, int]("unknown", nil).SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: "nightly", Every: time.Hour}, 1))
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, suspended_for, owner, queue, priority, partition_key, input, error, created_at, updated_at, run_at)
		SELECT n::text, CASE WHEN n < 4 THEN 'order' ELSE 'refund' END, status, reason, CASE n WHEN 5 THEN 'dead' END, CASE n WHEN 6 THEN 'mails' END, CASE n WHEN 6 THEN 2 END,
		       CASE n WHEN 6 THEN '' END, '1', CASE status WHEN 'failed' THEN '{"message": "no money"}'::jsonb END, now.ms - 60000, now.ms - 30000, CASE n WHEN 6 THEN now.ms - 60000 END
		FROM (VALUES (1, 'completed', NULL), (2, 'completed', NULL), (3, 'failed', NULL), (4, 'suspended', 'blocked'), (5, 'running', NULL), (6, 'pending', NULL), (7, 'suspended', 'signal'))
		     AS runs (n, status, reason)
		CROSS JOIN (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms) AS now`)
	for _, window := range []string{"", "?window=1h", "?window=7d"} {
		b.get(web.Options{}, window).is(200, `aria-label="2 completed, 0 cancelled, 1 failed"`, `<title>`, `<rect class="completed"`,
			"A worker on there has died with 1 run", "1 run is blocked", "1 run failed.", "mails&#34; has been paused for", "and 1 run is waiting",
			"Schedule &#34;nightly&#34; starts runs of &#34;unknown&#34;, which no living worker serves", "no money", "0 running of at most 3", "refund").
			lacks("No worker is alive", "10,000")
	}
	b.get(web.Options{}, "?window=1h").is(200, "Of the runs created in the last 1 hour")
	b.get(web.Options{}, "?window=1y").is(http.StatusBadRequest, "no such window")

	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
		SELECT 'n' || n, 'order', 'completed', '1', now.ms, now.ms
		FROM generate_series(1, 12000) AS n CROSS JOIN (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms) AS now`)
	b.get(web.Options{}, "").is(200, "Of the newest 10,000 runs, the first of which was created", ">10,000&#43;<")
}
