package store_test

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Each limit is exact, a run that waits counts for nothing, and one that ends makes room for one.
func TestQueueLimits(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for name, test := range map[string]struct {
			limits   store.Queue
			mine     int // claimed first by the worker
			others   int // and then by another one
			restarts int // and once one has ended
		}{
			"none":             {store.Queue{}, 8, 0, 0},
			"running":          {store.Queue{MaxRunning: 3}, 3, 0, 1},
			"per worker":       {store.Queue{MaxPerWorker: 3}, 3, 3, 1},
			"per partition":    {store.Queue{MaxPerPartition: 1}, 2, 0, 1},
			"both":             {store.Queue{MaxRunning: 5, MaxPerWorker: 3}, 3, 2, 1},
			"all":              {store.Queue{MaxRunning: 7, MaxPerWorker: 4, MaxPerPartition: 3}, 4, 2, 1},
			"more than enough": {store.Queue{MaxRunning: 100, MaxPerWorker: 100, MaxPerPartition: 100}, 8, 0, 0},
		} {
			t.Run(name, func(t *testing.T) {
				q := onQueue(t, access, test.limits)
				worker(t, q.st, "you")
				for _, partition := range []string{"", "p"} {
					q.add(4, store.Place{Priority: store.UsualPriority, Partition: partition})
				}
				mine := q.wants(10, test.mine)
				q.wants(10, 0)
				theirs := q.request(10)
				theirs.Worker = "you"
				if got := q.ask(theirs); len(got.Runs) != test.others {
					t.Errorf("another worker: %+v, want %d", got, test.others)
				}
				if got := q.ask(theirs); len(got.Runs) != 0 {
					t.Errorf("another worker, again: %+v", got)
				}
				wantOutcomes(t, q.st, []store.Write{&store.Park{Owned: store.Owned{RunID: mine[0], Epoch: 1}, For: store.ForChildren}}, store.Written)
				q.wants(10, test.restarts)
				q.end(mine[1])
				q.wants(10, test.restarts)
			})
		}
	})
}

// A limit that is changed downwards lets those that are running finish, and adds none until there are fewer.
func TestLimitIsLowered(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{MaxRunning: 6})
		q.add(20, store.Place{Priority: store.UsualPriority})
		running := q.wants(10, 6)
		q.set(store.Queue{MaxRunning: 2})
		for len(running) > 2 {
			if got := q.claim(10); len(got.Runs) > 0 || !got.Full {
				t.Fatalf("with %d running: %+v", len(running), got)
			}
			q.end(running[0])
			running = running[1:]
		}
		if got := q.claim(10); len(got.Runs) > 0 || !got.Full {
			t.Errorf("with 2 running: %+v", got)
		}
		q.end(running[0])
		q.wants(10, 1)
		q.set(store.Queue{})
		q.wants(100, 13)
	})
}

// A queue that somebody changes in an open transaction goes on by what was set before, and by the new limits from the commit on.
func TestOpenSetQueueStopsNoClaim(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{MaxRunning: 4})
		q.add(20, store.Place{Priority: store.UsualPriority})
		tx := kit.Begin(t, q.db)
		kit.Must(t, q.st.In(tx).SetQueue(t.Context(), store.Queue{Name: "q", MaxRunning: 1}))
		kit.Must(t, q.st.In(tx).PauseQueue(t.Context(), "q"))
		running := q.wants(3, 3)
		running = append(running, q.wants(3, 1)...)
		q.end(running[0])
		running = append(running[1:], q.wants(3, 1)...)
		kit.Must(t, tx.Commit())
		q.end(running...)
		if got := q.claim(3); len(got.Runs) > 0 || !got.Full {
			t.Errorf("paused: %+v", got)
		}
		if found := q.find(); len(found) > 0 {
			t.Errorf("paused, and found: %q", found)
		}
		kit.Must(t, q.st.ResumeQueue(t.Context(), "q"))
		q.wants(3, 1)
		q.wants(3, 0)
	})
}

// find looks for due queues of workflow "w".
func (q *queued) find() []string {
	q.t.Helper()
	found, err := q.st.FindQueues(q.t.Context(), store.FindRequest{Workflows: []string{"w"}})
	kit.Must(q.t, err)
	return found
}

// A rate counts starts: so many at once after a pause, and then one by one, evenly spread.
func TestQueueRate(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		q := onQueue(t, access, store.Queue{RateCount: 2, RateWindow: time.Hour, RateBurst: 3})
		q.add(20, store.Place{Priority: store.UsualPriority})
		got := q.claim(2)
		if len(got.Runs) != 2 || got.Wait != 0 || got.Full {
			t.Errorf("the first two: %+v", got)
		}
		about := func(got store.QueueClaim, runs int, wait time.Duration) {
			t.Helper()
			if len(got.Runs) != runs || got.Wait > wait || got.Wait < wait-time.Minute || got.Full || got.Missed {
				t.Errorf("%d runs, wait %s: %+v, want %d, %s", len(got.Runs), got.Wait, got, runs, wait)
			}
		}
		about(q.claim(10), 1, 30*time.Minute)
		about(q.claim(10), 0, 30*time.Minute)
		passes := func(d time.Duration) {
			kit.Exec(t, q.side, `UPDATE workflows.workflow_queue_turns SET free_at = free_at - $1::bigint`, d.Microseconds())
		}
		passes(20 * time.Minute)
		about(q.claim(10), 0, 10*time.Minute)
		passes(11 * time.Minute)
		about(q.claim(10), 1, 29*time.Minute)
		passes(90 * time.Minute)
		about(q.claim(1), 1, 0)
		about(q.claim(10), 2, 30*time.Minute)
		passes(100 * time.Hour) // no more than the burst is saved up
		about(q.claim(10), 3, 30*time.Minute)
		q.set(store.Queue{})
		q.wants(2, 2)
		q.set(store.Queue{RateCount: 1000000, RateWindow: time.Millisecond})
		q.wants(1, 1)
	})
}
