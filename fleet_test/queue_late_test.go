package fleet_test

import (
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A transaction of the application starts runs and commits a minute later, when workers have long looked at what was due then: they are
// found all the same, in a queue with partitions, in one without, and in none.
func TestRunsOfALongTransactionAreFound(t *testing.T) {
	t.Parallel()
	f, svc := setupQueues(t, workflow.Queue{Name: "plain"}, workflow.Queue{Name: "limited", MaxRunning: 2}, workflow.Queue{Name: "tenants"})
	for range 2 {
		worker := f.service(f.db, nil)
		worker.Register(chore())
		kit.Work(t, worker)
	}
	as := func(n int) (task, []workflow.StartOption) {
		do, priority := task{N: n}, workflow.WithPriority(workflow.Priority(n/4%5-2))
		switch n % 4 {
		case 0:
			return do, []workflow.StartOption{workflow.WithQueue("plain"), priority}
		case 1:
			return do, []workflow.StartOption{workflow.WithQueue("limited"), priority}
		case 2:
			return do, []workflow.StartOption{workflow.WithQueue("tenants"), priority, workflow.WithPartition([]string{"a", "b", "c"}[n%3])}
		default:
			return do, nil
		}
	}
	first := 0
	for range sized(1, 4, 4) {
		f.start(svc, first, first+60, as) // the workers look at all, and beyond
		first += 60
		f.untilAllEnd()
		tx := kit.Begin(t, f.db)
		on := svc.In(tx)
		for range 20 {
			do, options := as(first)
			_, err := chore().Start(t.Context(), on, do, append(options, workflow.WithRunID(runID(first)))...)
			kit.Must(t, err)
			first++
		}
		kit.Exec(t, tx, "UPDATE workflows.workflow_runs SET run_at = run_at - 60000 WHERE status = 'pending' AND id >= $1", runID(first-20))
		kit.Must(t, tx.Commit())
		f.untilAllEnd()
	}
	f.checkChores(first)
}

// Many processes make sure of one queue, or set it, at the same time: all succeed, and there is one.
func TestQueueIsMadeByManyAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var services []*workflow.Service
	for range 8 {
		services = append(services, f.service(f.db, nil))
	}
	for range sized(5, 20, 200) {
		f.exec("DELETE FROM workflows.workflow_queues; DELETE FROM workflows.workflow_queue_turns")
		for i, err := range kit.Together(len(services), func(i int) error {
			queue := workflow.Queue{Name: "images", MaxRunning: 1 + i}
			if i%2 == 0 {
				return services[i].SetQueue(t.Context(), queue)
			}
			return services[i].EnsureQueue(t.Context(), queue)
		}) {
			if err != nil {
				t.Errorf("service %d: %v", i, err)
			}
		}
		listed, err := services[0].ListQueues(t.Context())
		kit.Must(t, err)
		if n := f.count("SELECT count(*) FROM workflows.workflow_queue_turns"); n != 1 || len(listed) != 1 || listed[0].MaxRunning%2 != 1 {
			t.Errorf("%d turns, queues: %+v; want one, as it was set last", n, listed)
		}
	}
}
