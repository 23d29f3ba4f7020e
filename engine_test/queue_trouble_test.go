package engine_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// The one place of a queue is a dead worker's until its run is taken over; then the queue goes on, with that run too.
func TestPlaceOfADeadWorker(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		o := newHall(t, way, workflow.Queue{Name: "q", MaxRunning: 1})
		side := o.pg.Open(t, pgtest.PQ)
		var crowded atomic.Bool
		begun := make(chan string, 10)
		as := func(name string, wait bool) *workflow.Workflow[int, int] {
			return workflow.Define("w", func(ctx context.Context, n int) (int, error) {
				begun <- name
				if wait {
					<-ctx.Done()
					return 0, context.Cause(ctx)
				}
				return n, nil
			})
		}
		dying, svc := o.worker(t, "dying", nil, as("dying", true))
		ctx, stop := context.WithCancel(context.Background())
		kit.Go(t, func() error { return svc.Work(ctx) }) // which cannot sign off
		t.Cleanup(stop)
		first := start(t, o.svc, as("", false), 1, workflow.WithQueue("q"))
		kit.Receive(t, "the first run has begun", begun)
		second := start(t, o.svc, as("", false), 2, workflow.WithQueue("q"))

		dying.mu.Lock()
		dying.kill()
		dying.mu.Unlock()
		watch, watched := context.WithCancel(t.Context())
		watcher := kit.Go(t, func() error {
			for watch.Err() == nil {
				if n := kit.One[int](t, side, "SELECT count(*) FROM workflows.workflow_runs WHERE status = 'running'"); n > 1 {
					crowded.Store(true)
				}
			}
			return nil
		})
		for i := range 2 {
			_, svc := o.worker(t, fmt.Sprint("heir ", i), nil, as("heir", false))
			kit.Work(t, svc)
		}
		ends(t, first, second)
		watched()
		kit.Must(t, <-watcher)
		if crowded.Load() {
			t.Error("two runs were running at once")
		}
		if n := kit.One[int](t, side, "SELECT take_overs FROM workflows.workflow_runs WHERE id = $1", first.RunID()); n != 1 {
			t.Errorf("the first run was taken over %d times, want 1", n)
		}
	})
}

// A worker whose lease has ended executes runs of queues again under a new one.
func TestQueueAfterALostLease(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		o := newHall(t, way, workflow.Queue{Name: "q", MaxRunning: 1})
		side := o.pg.Open(t, pgtest.PQ)
		var calls atomic.Int32
		w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
			if calls.Add(1) == 1 {
				<-ctx.Done() // until the lease is lost
				return 0, context.Cause(ctx)
			}
			return n, nil
		})
		_, svc := o.worker(t, "worker", nil, w)
		kit.Work(t, svc)
		first := start(t, svc, w, 1, workflow.WithQueue("q"))
		kit.Until(t, "it executes the first run", func() bool { return calls.Load() == 1 })
		second := start(t, svc, w, 2, workflow.WithQueue("q"))
		kit.Exec(t, side, "UPDATE workflows.workflow_workers SET expires_at = 1")
		ends(t, first, second)
		if n := kit.One[int](t, side, "SELECT count(*) FROM workflows.workflow_workers"); n < 2 {
			t.Errorf("%d leases, want a new one", n)
		}
	})
}

// Workers have perhaps died of some runs, with a queue and without. One worker executes one of those at a time.
func TestSuspectsWithAndWithoutAQueue(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		o := newHall(t, way, workflow.Queue{Name: "q"})
		var now, most atomic.Int32
		w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
			return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				kit.Pause(ctx, 5*time.Millisecond)
				now.Add(-1)
				return n, nil
			})
		})
		var handles []*workflow.Handle[int]
		for n := range 6 {
			handles = append(handles, start(t, o.svc, w, n), start(t, o.svc, w, n, workflow.WithQueue("q")))
		}
		kit.Exec(t, o.pg.Open(t, pgtest.PQ), "UPDATE workflows.workflow_runs SET take_overs = 2")
		_, svc := o.worker(t, "worker", nil, w)
		kit.Work(t, svc)
		ends(t, handles...)
		if n := most.Load(); n != 1 {
			t.Errorf("%d suspects at once, want one", n)
		}
	})
}

// A run of which ten workers have died is failed by whoever takes it over, also one that has a queue, whose only place is free then.
func TestCrashLoopInAQueue(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		o := newHall(t, way, workflow.Queue{Name: "q", MaxRunning: 1})
		side := o.pg.Open(t, pgtest.PQ)
		var calls atomic.Int32
		w := workflow.Define("w", func(_ context.Context, n int) (int, error) { calls.Add(1); return n, nil })
		poison, next := start(t, o.svc, w, 1, workflow.WithQueue("q")), start(t, o.svc, w, 2, workflow.WithQueue("q"))
		kit.Exec(t, side, "INSERT INTO workflows.workflow_workers VALUES ('nobody', 1)")
		kit.Exec(t, side, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'nobody', epoch = 9, run_at = NULL, take_overs = 9
			WHERE id = $1`, poison.RunID())
		kit.Exec(t, side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, updated_at)
			SELECT id, 's', 'running', updated_at FROM workflows.workflow_runs WHERE id = $1`, poison.RunID())
		_, svc := o.worker(t, "worker", nil, w)
		kit.Work(t, svc)
		ends(t, next)
		_, err := poison.Result(kit.Context(t))
		kit.WantIs(t, err, workflow.CodeCrashLoop)
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls, want that of the other run alone", n)
		}
	})
}

// The answer to a claim of a queue is lost while the worker claims all the time, of queues and of others: the runs are found all the same,
// and the queue's only place with them.
func TestLostClaimOfAQueue(t *testing.T) {
	t.Parallel()
	for _, way := range everyWay[1:3] { // of few statements
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			o := newHall(t, way, workflow.Queue{Name: "q", MaxRunning: 1}, workflow.Queue{Name: "busy"})
			w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
			handles := []*workflow.Handle[int]{start(t, o.svc, w, 1, workflow.WithQueue("q")), start(t, o.svc, w, 2, workflow.WithQueue("q"))}
			p, svc := o.worker(t, "worker", nil, w)
			p.counts = func(s statement) verdict {
				if s.label == "claim_queue" {
					return whenFound
				}
				return never
			}
			p.cut = cut{n: 1, after: true, lives: true}
			kit.Work(t, svc)
			<-p.lost

			var busy sync.WaitGroup
			ctx, idle := context.WithCancel(kit.Context(t))
			for i := range 4 {
				busy.Go(func() {
					for ctx.Err() == nil {
						var options []workflow.StartOption
						if i%2 == 0 {
							options = append(options, workflow.WithQueue("busy"))
						}
						if _, err := w.Start(ctx, svc, 1, options...); err != nil && ctx.Err() == nil {
							t.Error(err)
							return
						}
					}
				})
			}
			ends(t, handles...)
			idle()
			busy.Wait()
		})
	}
}
