package workflow_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A look at queues sees what a list does, up to a bound, which it tells.
func TestLookAtQueues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "few", MaxRunning: 5, Rate: workflow.PerMinute(7)}))
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "many"}))
	kit.Must(t, b.svc.PauseQueue(t.Context(), "many"))
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT 'f' || n, 'w', CASE WHEN n < 3 THEN 'running' ELSE 'pending' END, '1'::jsonb, 1, 1, CASE WHEN n >= 3 THEN n * 1000000000000 END, 'few', 2, '' FROM generate_series(1, 4) AS n
		UNION ALL
		SELECT 'm' || n, 'w', 'pending', '1'::jsonb, 1, 1, 1000000000000, 'many', 2, '' FROM generate_series(1, 10001) AS n`)
	kit.Exec(t, b.db, `UPDATE workflows.workflow_runs SET run_at = 1000000000000 WHERE id = 'f3'`)
	listed, err := b.svc.ListQueues(t.Context())
	kit.Must(t, err)
	looked, err := b.svc.LookAtQueues(t.Context())
	kit.Must(t, err)
	if len(looked) != 2 || looked[0].Running != 2 || looked[0].Waiting != 1 || looked[0].AtLeast || looked[1].Waiting != 10_000 || !looked[1].AtLeast {
		t.Errorf("looked at %+v", looked)
	}
	looked[1].Waiting, looked[1].AtLeast = 10_001, false
	if diff := cmp.Diff(listed, looked, cmp.Comparer(func(x, y time.Duration) bool { return (x - y).Abs() < time.Minute })); diff != "" {
		t.Errorf("-listed +looked:\n%s", diff)
	}
}
