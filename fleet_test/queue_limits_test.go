package fleet_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A sampler reads the database beside processes that claim from queues with every limit and are killed: never more runs than a limit
// allows, no queue stands still, and each run is executed to its end.
func TestLimitsHoldWhileProcessesAreKilled(t *testing.T) {
	t.Parallel()
	runs, claimers := sized(300, 1_000, 50_000), sized(4, 12, 12)
	rate := workflow.Rate{Count: 40, Per: time.Second, Burst: 5}
	queues := []workflow.Queue{
		{Name: "fleet", MaxRunning: 5},
		{Name: "partitions", MaxRunning: 7, MaxPerWorker: 5, MaxPerPartition: 2},
		{Name: "one", MaxRunning: 1},
		{Name: "worker", MaxPerWorker: 2},
		{Name: "free"},
		{Name: "rate", Rate: rate},
	}
	partitions := []string{"a", "b", "c", "d", "e", "f"}
	f, svc := setupQueues(t, queues...)
	stop := f.sampling(partitions, queues...)
	poll := time.Duration(sized(4, 20, 20)) * time.Millisecond
	pack := f.release(claimers, job{Does: "chores", Poll: poll}, time.Duration(sized(500, 1_000, 1_000))*time.Millisecond)
	began := time.Now()
	taken := func() int {
		return f.count("SELECT count(*) FROM history WHERE step IS NULL AND was = 'running' AND is_now = 'pending' AND owner_was IS NOT NULL")
	}
	started := 0
	for started < runs || taken() == 0 { // as long as it shows nothing
		f.start(svc, started, started+250, func(n int) (task, []workflow.StartOption) { return mixed(n, partitions) })
		started += 250
		kit.Until(t, "most of the runs have begun", func() bool {
			return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'pending'") < 250
		})
	}
	f.untilAllEnd()
	took := time.Since(began)
	killed := pack.stop()
	stop()

	t.Logf("%d runs in %s, %d processes killed, %d runs taken over, %d claims", started, took, killed, taken(), f.claims())
	f.checkClaims(queues...)
	f.checkRate("rate", rate)
	f.checkChores(started)
}

// mixed makes chore n one of a queue, most of them of those with limits, and one partition much longer than the others.
func mixed(n int, partitions []string) (task, []workflow.StartOption) {
	do := task{N: n, Takes: rand.N(6 * time.Millisecond), Step: n%4 == 0, Nap: n%50 == 7}
	if n%25 == 3 { // long enough to be killed in
		do.Takes *= 20
	}
	options := []workflow.StartOption{workflow.WithPriority(workflow.Priority(rand.IntN(5) - 2))}
	switch slot := n % 20; {
	case slot < 5:
		options = append(options, workflow.WithQueue("fleet"))
	case slot < 8: // each worker goes its own round: so no two of them choose the same run
		options = append(options, workflow.WithQueue("one"), workflow.WithPartition(partitions[n/20%len(partitions)]))
	case slot < 16:
		partition := partitions[0]
		if n%2 == 0 {
			partition = partitions[rand.IntN(len(partitions))]
		}
		options = append(options, workflow.WithQueue("partitions"), workflow.WithPartition(partition))
	case slot < 18:
		options = append(options, workflow.WithQueue("worker"))
	case slot < 19:
		options = append(options, workflow.WithQueue("free"))
	default:
		options = append(options, workflow.WithQueue("rate"))
	}
	return do, options
}

// checkClaims compares what ran after each claim with the limits, which must not have changed, and asks that each was reached.
func (f *fleet) checkClaims(queues ...workflow.Queue) {
	f.t.Helper()
	for _, queue := range queues {
		for column, limit := range limitsOf(queue) {
			if peak := f.peak(queue.Name, column); peak != limit {
				f.t.Errorf("queue %q: %s was %d at most after a claim, limit %d (below it the test shows nothing)", queue.Name, column, peak, limit)
			}
		}
	}
}

// limitsOf returns the limits by what they bound.
func limitsOf(queue workflow.Queue) map[string]int {
	limits := map[string]int{"running": queue.MaxRunning, "by_worker": queue.MaxPerWorker, "in_partition": queue.MaxPerPartition}
	maps.DeleteFunc(limits, func(_ string, limit int) bool { return limit == 0 })
	return limits
}

func (f *fleet) peak(queue, column string) int {
	f.t.Helper()
	return f.count(fmt.Sprintf("SELECT coalesce(max(%s), 0) FROM claims WHERE queue = $1", column), queue)
}

// checkRate looks at every window between two claims.
func (f *fleet) checkRate(queue string, rate workflow.Rate) {
	f.t.Helper()
	began := kit.Column[int64](f.t, f.db, "SELECT stamped FROM claims WHERE queue = $1 ORDER BY stamped", queue)
	perMilli := float64(rate.Count) / float64(rate.Per.Milliseconds())
	most, fewest := 0.0, 0.0
	for i, at := range began {
		ahead := float64(i) - perMilli*float64(at-began[0]) // of what the rate alone allows since the first
		fewest = min(fewest, ahead)
		most = max(most, ahead-fewest+1)
	}
	f.t.Logf("queue %q: %d starts, at most %.1f more in a window than its length allows, burst %d", queue, len(began), most, rate.Burst)
	if most > float64(rate.Burst)+perMilli { // times are cut to the millisecond
		f.t.Errorf("queue %q: %.1f more starts than the rate allows in some window, burst %d", queue, most, rate.Burst)
	}
	if len(began) <= rate.Burst {
		f.t.Errorf("queue %q: %d starts: the test shows nothing", queue, len(began))
	}
}
