package fleet_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow"
)

// sampleQueues reads in one snapshot how much of each queue runs, and whether more of it could. A run could that is due in a partition
// with room, while there is room in the queue. Runs of dead workers run, as long as their leases do.
const sampleQueues = `
WITH busy AS MATERIALIZED (
    SELECT queue, partition_key, owner FROM workflows.workflow_runs WHERE queue IS NOT NULL AND status = 'running'
)
SELECT queue.name,
       (SELECT count(*) FROM busy WHERE busy.queue = queue.name) AS running,
       (SELECT coalesce(max(n), 0) FROM (
           SELECT count(*) AS n FROM busy WHERE busy.queue = queue.name GROUP BY owner) AS workers) AS by_worker,
       (SELECT coalesce(max(n), 0) FROM (
           SELECT count(*) AS n FROM busy WHERE busy.queue = queue.name GROUP BY partition_key) AS partitions) AS in_partition,
       (SELECT coalesce(max(n), 0) FROM claims WHERE claims.queue = queue.name) AS claimed,
       queue.paused_at IS NULL
       AND (queue.max_running IS NULL OR queue.max_running > (SELECT count(*) FROM busy WHERE busy.queue = queue.name))
       AND EXISTS (
           SELECT FROM unnest($1::text[]) AS partition
           CROSS JOIN LATERAL (
               SELECT FROM workflows.workflow_runs
               WHERE queue = queue.name AND workflow = 'chore' AND partition_key = partition AND status IN ('pending', 'suspended')
                 AND run_at <= extract(epoch FROM clock_timestamp()) * 1000 AND dispatched_at IS NULL
               LIMIT 1
           ) AS waiting
           WHERE queue.max_per_partition IS NULL OR queue.max_per_partition > (
               SELECT count(*) FROM busy WHERE busy.queue = queue.name AND busy.partition_key = partition)
       ) AS more
FROM workflows.workflow_queues AS queue`

type sample struct {
	queue                          string
	running, byWorker, inPartition int
	claimed                        int64 // the claims that were made before
	more                           bool
	at                             time.Time // by the test's clock
}

// A watch is what a sampler has seen of a queue.
type watch struct {
	samples, peak int
	last          sample // that was idle
	idle          bool   // more could have run
	longest       time.Duration
	over          []string // samples beyond a limit
}

// see takes in the next sample.
func (w *watch) see(s sample, limits workflow.Queue) {
	w.samples++
	w.peak = max(w.peak, s.running)
	for _, limit := range []struct {
		what    string
		is, may int
	}{
		{"run", s.running, limits.MaxRunning},
		{"run in one worker", s.byWorker, limits.MaxPerWorker},
		{"run in one partition", s.inPartition, limits.MaxPerPartition},
	} {
		if limit.may > 0 && limit.is > limit.may {
			w.over = append(w.over, fmt.Sprintf("%d %s, limit %d", limit.is, limit.what, limit.may))
		}
	}
	if !s.more || !w.idle || s.claimed != w.last.claimed {
		w.idle, w.last = s.more, s
		return
	}
	w.longest = max(w.longest, s.at.Sub(w.last.at))
}

// stuck is how long a queue may go without beginning a run that could begin: far longer than a poll, a lease and a busy machine take.
const stuck = 15 * lease

// sampling reads the database every few milliseconds until stop is called, which fails the test if a limit was not one or a queue stood
// still. Limits are as given, and must not change meanwhile.
func (f *fleet) sampling(partitions []string, queues ...workflow.Queue) (stop func() map[string]*watch) {
	f.t.Helper()
	watches := make(map[string]*watch)
	limits := make(map[string]workflow.Queue)
	for _, queue := range queues {
		watches[queue.Name], limits[queue.Name] = new(watch), queue
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.t.Cleanup(cancel)
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			samples, err := readSamples(f.db, partitions)
			if err != nil {
				f.t.Errorf("sample: %v", err)
				return
			}
			for _, s := range samples {
				if w := watches[s.queue]; w != nil {
					w.see(s, limits[s.queue])
				}
			}
			<-tick.C
		}
	})
	return func() map[string]*watch {
		f.t.Helper()
		cancel()
		sampling.Wait()
		for name, w := range watches {
			f.t.Logf("queue %q: %d samples, at most %d running, at most %s without a claim while more could run", name, w.samples, w.peak, w.longest)
			if len(w.over) > 0 {
				f.t.Errorf("queue %q: %d samples of %d beyond a limit: %v", name, len(w.over), w.samples, w.over[:min(len(w.over), 5)])
			}
			if w.longest > stuck {
				f.t.Errorf("queue %q: no run began for %s although more could", name, w.longest)
			}
		}
		return watches
	}
}

func readSamples(db *sql.DB, partitions []string) (samples []sample, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rows, err := db.QueryContext(ctx, sampleQueues, slices.Concat([]string{""}, partitions))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	now := time.Now()
	for rows.Next() {
		s := sample{at: now}
		if err := rows.Scan(&s.queue, &s.running, &s.byWorker, &s.inPartition, &s.claimed, &s.more); err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, rows.Err()
}
