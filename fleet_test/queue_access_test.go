package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Queues work by every access, PgBouncer among them: limits, partitions, priorities, a rate, a pause, keys, children, in transactions of
// the application and without.
func TestQueuesByEveryAccess(t *testing.T) {
	t.Parallel()
	for _, access := range pgtest.Accesses {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.exec(claimsTable)
			f.queuesBy(access, sized(40, 120, 400))
		})
	}
}

func (f *fleet) queuesBy(access pgtest.Access, runs int) {
	t, ctx := f.t, kit.Context(f.t)
	db := f.pg.Open(t, access)
	db.SetMaxOpenConns(8)
	client := f.service(db, nil)
	rate := workflow.Rate{Count: 50, Per: time.Second, Burst: 3}
	queues := []workflow.Queue{
		{Name: "tenants", MaxRunning: 4, MaxPerWorker: 3, MaxPerPartition: 2}, {Name: "rate", Rate: rate}, {Name: office, MaxRunning: 1},
	}
	kit.Must(t, client.EnsureQueue(ctx, queues[1]))
	for _, queue := range queues {
		tx := kit.Begin(t, db)
		kit.Must(t, client.In(tx).SetQueue(ctx, queue))
		kit.Must(t, client.In(tx).PauseQueue(ctx, queue.Name))
		kit.Must(t, tx.Commit())
	}
	stop := f.sampling([]string{"a", "b", "c"}, queues...)
	for range 2 {
		pool := f.pg.Open(t, access)
		pool.SetMaxOpenConns(8)
		pool.SetMaxIdleConns(8)
		worker := f.service(pool, nil)
		worker.Register(chore(), boss())
		kit.Work(t, worker)
	}
	f.start(client, 0, runs, func(n int) (task, []workflow.StartOption) {
		options := []workflow.StartOption{workflow.WithQueue("rate")}
		if n%5 > 0 {
			options = []workflow.StartOption{
				workflow.WithQueue("tenants"), workflow.WithPartition([]string{"a", "b", "c"}[n%3]), workflow.WithPriority(workflow.Priority(n%5 - 2)),
			}
		}
		return task{N: n, Takes: 3 * time.Millisecond, Step: n%3 == 0, Nap: n%20 == 0}, append(options, workflow.WithUnique(fmt.Sprint(n)))
	})
	tx := kit.Begin(t, db)
	parent, err := boss().Start(ctx, client.In(tx), commission{Chores: 3, Depth: 1}, workflow.WithQueue(office))
	kit.Must(t, err)
	kit.Must(t, tx.Commit())

	if n := f.claims(); n != 0 {
		t.Errorf("%d runs of paused queues began", n)
	}
	listed, err := client.ListQueues(ctx)
	kit.Must(t, err)
	for _, state := range listed {
		if state.PausedAt.IsZero() || state.Running != 0 || state.Waiting == 0 {
			t.Errorf("the queue is %+v", state)
		}
		kit.Must(t, client.ResumeQueue(ctx, state.Name))
	}
	if got, err := parent.Result(ctx); err != nil || got != 2*(1+3) {
		t.Errorf("the parent returned %d, %v", got, err)
	}
	f.untilAllEnd()
	stop()
	for _, queue := range queues { // with few runs not each limit is reached
		for column, limit := range limitsOf(queue) {
			if peak := f.peak(queue.Name, column); peak > limit {
				t.Errorf("queue %q: %s was %d after a claim, limit %d", queue.Name, column, peak, limit)
			}
		}
	}
	f.checkRate("rate", rate)
	if n := f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status <> 'completed'"); n > 0 {
		t.Errorf("%d runs are not completed", n)
	}
	f.verify()
}
