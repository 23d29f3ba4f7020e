package fleet_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// aged are runs that ended long ago, of the workflow that is at work, and as many steps. One in a thousand is unfinished, or has something
// unfinished in its family.
const aged = `
INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, abandoned, parent_id)
SELECT 'aged' || n, 'chore', CASE WHEN n % 1000 = 0 THEN 'suspended' ELSE 'completed' END, '{}', n, n, true,
       CASE WHEN n % 1000 IN (0, 1) THEN 'aged' || n - 1 END
FROM generate_series(1, $1::int) AS n`

const agedSteps = `
INSERT INTO workflows.workflow_steps (run_id, step_name, status, updated_at)
SELECT id, 's', 'succeeded', 1 FROM workflows.workflow_runs WHERE id LIKE 'aged%'`

// Two prune beside each other while processes execute runs and are killed: all that is old goes, nothing that is unfinished or belongs to
// such a run is touched, and each run ends as if nobody had pruned.
func TestPruneBesideLoad(t *testing.T) {
	t.Parallel()
	f := setup(t)
	svc := f.service(f.db, nil)
	old, runs := sized(10_000, 20_000, 200_000), sized(100, 400, 4_000)
	f.exec(aged, old)
	f.exec(agedSteps)
	f.exec(`DELETE FROM history`) // that was no worker
	pack := f.release(2, job{Does: "chores"}, 200*time.Millisecond)
	started := kit.Go(t, func() error {
		return startChores(context.WithoutCancel(t.Context()), svc, 0, runs, func(n int) (task, []workflow.StartOption) {
			return task{N: n, Step: n%2 == 0, Nap: n%5 == 0}, nil
		})
	})
	pruned := make(chan int64, 2)
	for _, err := range kit.Together(2, func(int) error {
		done, err := svc.Prune(kit.Context(t), workflow.Prune{Before: time.Now().Add(-time.Hour)})
		pruned <- done.Runs
		return err
	}) {
		kit.Must(t, err)
	}
	kit.Must(t, kit.Receive(t, "the end of starting", started))
	kit.Until(t, "all chores have ended", func() bool {
		return f.count(`SELECT count(*) FROM workflows.workflow_runs WHERE id NOT LIKE 'aged%' AND status <> 'completed'`) == 0
	})
	t.Logf("%d processes killed", pack.stop())
	stay := 3*old/1000 - 1 // each unfinished one, what has started it, and its child, which the last one has not
	if total := <-pruned + <-pruned; int(total) != old-stay {
		t.Errorf("%d runs were pruned, want %d", total, old-stay)
	}
	if left := f.count(`
		SELECT count(*) FROM workflows.workflow_runs
		WHERE id LIKE 'aged%' AND substr(id, 5)::int % 1000 NOT IN (999, 0, 1)`); left > 0 {
		t.Errorf("%d old runs are left", left)
	}
	if steps := f.count(`SELECT count(*) FROM workflows.workflow_steps WHERE run_id LIKE 'aged%'`); steps != stay {
		t.Errorf("%d old steps are left, want %d", steps, stay)
	}
	if n := f.count(`SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed' AND output = input -> 'N'`); n != runs {
		t.Errorf("%d of %d chores are completed with their number", n, runs)
	}
	f.verify()
}
