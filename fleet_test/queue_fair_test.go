package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Two partitions of very different length get equally many runs begun, as long as both have some: whatever limit the queue has, however
// many runs a claim brings and however many workers there are.
func TestPartitionsOfDifferentLengthAreServedFairly(t *testing.T) {
	t.Parallel()
	short := sized(60, 100, 1_000)
	long := 6 * short
	for name, shape := range map[string]struct {
		queue                workflow.Queue
		workers, concurrency int
	}{
		"one worker":                         {workflow.Queue{MaxRunning: 6}, 1, 16},
		"one run at a time":                  {workflow.Queue{MaxRunning: 1}, 1, 16},
		"three workers":                      {workflow.Queue{MaxRunning: 6}, 3, 16},
		"three workers, one run at a time":   {workflow.Queue{MaxRunning: 1}, 3, 16},
		"three workers with a slot each":     {workflow.Queue{}, 3, 1},
		"no limit":                           {workflow.Queue{}, 1, 4},
		"a limit that is odd":                {workflow.Queue{MaxRunning: 5}, 2, 16},
		"a limit for partitions":             {workflow.Queue{MaxPerPartition: 3}, 2, 16},
		"a limit for workers, three of them": {workflow.Queue{MaxPerWorker: 1}, 3, 16},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shape.queue.Name = "shared"
			f, svc := setupQueues(t, shape.queue)
			f.start(svc, 0, long+short, func(n int) (task, []workflow.StartOption) {
				partition := "long"
				if n >= long { // it also comes later
					partition = "short"
				}
				return task{N: n, Takes: time.Millisecond}, []workflow.StartOption{workflow.WithQueue("shared"), workflow.WithPartition(partition)}
			})
			for range shape.workers {
				worker := f.service(f.db, func(c *workflow.Config) { c.Concurrency = shape.concurrency })
				worker.Register(chore())
				kit.Work(t, worker)
			}
			begun := func(partition string) int {
				return f.count(`SELECT count(*) FROM claims
					WHERE partition = $1 AND n <= (SELECT coalesce(max(n), 0) FROM claims WHERE partition = 'short')`, partition)
			}
			kit.Until(t, "the short partition has begun", func() bool { return begun("short") == short })
			f.checkFair(begun("long"), short)
			f.untilAllEnd()
			f.checkChores(long + short)
		})
	}
}

// checkFair compares how many runs of one partition began with how many of another.
func (f *fleet) checkFair(is, other int) {
	f.t.Helper()
	if off := max(is-other, other-is); off > max(other/10, 3) {
		f.t.Errorf("%d runs of the long partition began beside %d of the short one, want as many within 10 %%", is, other)
	}
}

// More partitions than one claim looks at, of which one has far more runs than the others: no partition begins its last run before each
// has begun nearly as many.
func TestManyPartitionsTakeTurns(t *testing.T) {
	t.Parallel()
	const partitions, each = 250, 4
	f, svc := setupQueues(t, workflow.Queue{Name: "tenants", MaxRunning: sized(10, 3, 3)})
	const big = 2 * partitions
	f.start(svc, 0, big+partitions*each, func(n int) (task, []workflow.StartOption) {
		partition := "p100"
		if n >= big {
			partition = fmt.Sprintf("p%03d", n%partitions)
		}
		return task{N: n}, []workflow.StartOption{workflow.WithQueue("tenants"), workflow.WithPartition(partition)}
	})
	for range 3 {
		worker := f.service(f.db, nil)
		worker.Register(chore())
		kit.Work(t, worker)
	}
	f.untilAllEnd()
	// Each worker goes round by itself: so a partition may be ahead by as much as there are workers, and a round of the claim.
	if unfair := f.lines(`
		WITH turns AS (
		    SELECT partition, n, row_number() OVER (PARTITION BY partition ORDER BY n) AS turn FROM claims
		)
		SELECT partition || ' began its first run after ' || (SELECT max(turn) FROM turns AS t WHERE t.n < turns.n) || ' of another'
		FROM turns
		WHERE turn = 1 AND (SELECT max(turn) FROM turns AS t WHERE t.n < turns.n) > 4
		LIMIT 5`); len(unfair) > 0 {
		t.Errorf("%v", unfair)
	}
	f.checkChores(big + partitions*each)
}
