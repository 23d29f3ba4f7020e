package fleet_test

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run of a higher priority that is started behind a thousand others is the next to begin, in a queue of any kind, while processes
// claim from it.
func TestHigherPriorityIsNext(t *testing.T) {
	t.Parallel()
	const many = 1_000
	for name, shape := range map[string]struct {
		queue      workflow.Queue
		partitions []string
	}{
		"no limit":                      {workflow.Queue{}, nil},
		"a limit":                       {workflow.Queue{MaxRunning: 3}, nil},
		"a limit for workers":           {workflow.Queue{MaxPerWorker: 2}, nil},
		"partitions":                    {workflow.Queue{}, []string{"a", "b"}},
		"partitions with limits":        {workflow.Queue{MaxRunning: 3, MaxPerPartition: 2}, []string{"a", "b"}},
		"partitions, one run at a time": {workflow.Queue{MaxRunning: 1}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shape.queue.Name = "mail"
			f, svc := setupQueues(t, shape.queue)
			as := func(n int, p workflow.Priority) (task, []workflow.StartOption) {
				options := []workflow.StartOption{workflow.WithQueue("mail"), workflow.WithPriority(p)}
				if shape.partitions != nil {
					options = append(options, workflow.WithPartition(shape.partitions[n%len(shape.partitions)]))
				}
				return task{N: n, Takes: 20 * time.Millisecond}, options
			}
			f.start(svc, 0, many, func(n int) (task, []workflow.StartOption) { return as(n, workflow.PriorityNormal) })
			for range 2 {
				f.spawn(job{Does: "chores", Concurrency: 3})
			}
			f.untilClaims("mail", 30)
			next := many
			for range 3 {
				for _, p := range []workflow.Priority{workflow.PriorityHigh, workflow.PriorityHighest, workflow.PriorityHigh} {
					f.start(svc, next, next+1, func(n int) (task, []workflow.StartOption) { return as(n, p) })
					f.checkNext(next, len(shape.partitions))
					next++
				}
			}
			if f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'pending'") == 0 {
				t.Error("no run was left behind: the test shows nothing")
			}
		})
	}
}

// checkNext waits until run n, which has just been started, begins, and counts the runs that began before, by claims that came after its
// start: none in a queue without partitions, and none of its own partition.
func (f *fleet) checkNext(n, partitions int) {
	f.t.Helper()
	started := f.now()
	kit.Until(f.t, "the run begins", func() bool { return f.count("SELECT count(*) FROM claims WHERE run_id = $1", runID(n)) > 0 })
	const before = `
		FROM claims AS this
		JOIN claims AS other ON other.asked > $2 AND other.n < this.n AND (other.asked, other.owner) <> (this.asked, this.owner)
		WHERE this.run_id = $1`
	same := f.count(`SELECT count(*)`+before+` AND other.partition = this.partition`, runID(n), started)
	others := f.count(`SELECT count(*)`+before+` AND other.partition <> this.partition`, runID(n), started)
	if same > 0 || others > 3*partitions {
		f.t.Errorf("run %d: %d runs of its partition, and %d of others, began before it by later claims", n, same, others)
	}
}
