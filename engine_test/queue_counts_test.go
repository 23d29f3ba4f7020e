package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run of a queue costs what any run costs, and a claim: that there is such a queue is asked once. Its end makes nobody ask the queue
// again, unless a limit has left no room.
func TestStatementsOfAQueuedRun(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		kit.Must(t, c.svc.EnsureQueue(t.Context(), workflow.Queue{Name: "open"}))
		kit.Must(t, c.svc.EnsureQueue(t.Context(), workflow.Queue{Name: "one", MaxRunning: 1}))
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(context.Context) (int, error) { return 1, nil })
		})
		c.svc.Register(w)
		c.settle(t)
		for _, queue := range []string{"open", "one"} {
			want := costs{"has_queue": 1, "start_placed_run": 1, "claim_queue": 1, "checkpoint_step": 1, "end_run": 1}
			if queue == "one" {
				want["claim_queue"]++
			}
			for range 2 {
				_, err := w.Start(t.Context(), c.svc, 1, workflow.WithQueue(queue))
				kit.Must(t, err)
				c.spent(t, want, 0)
				delete(want, "has_queue")
			}
		}
	})
}

// A batch of runs of a queue costs one claim, however many are in it, and in which partitions.
func TestStatementsOfAQueuedBatch(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		const runs = 30
		for _, queue := range []workflow.Queue{{Name: "open"}, {Name: "limited", MaxRunning: runs}} {
			c := count(t, way, func(*workflow.Config) {})
			kit.Must(t, c.svc.EnsureQueue(t.Context(), queue))
			w := workflow.Define("w", func(context.Context, int) (int, error) { return 1, nil })
			c.svc.Register(w)
			for i := range runs {
				_, err := w.Start(t.Context(), c.svc, 1, workflow.WithQueue(queue.Name), workflow.WithPartition(string(rune('a'+i%7))))
				kit.Must(t, err)
			}
			c.sofar()
			c.forget()
			kit.Work(t, c.svc)
			kit.Until(t, "all are completed", func() bool {
				return kit.One[int](t, c.side, "SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed'") == runs
			})
			got := c.sofar()
			most := 2
			if queue.MaxRunning > 0 { // which has left no room at first: the first end makes the worker ask again
				most = 4
			}
			// That there are partitions is found out by the first one.
			if got["claim_partitions"] > most || got["claim_queue"] > 1 || got["find_queues"] > 1 || got["load_steps"] != 0 {
				t.Errorf("%s: %v; want one look, one claim that finds them, and no load, as they are new", queue.Name, got)
			}
		}
	})
}

// A run of a queue that is parked costs what another costs; the worker asks its queue when it may go on.
func TestStatementsOfAQueuedSignal(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		kit.Must(t, c.svc.EnsureQueue(t.Context(), workflow.Queue{Name: "q"}))
		w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) { return letter.Wait(ctx, 0) })
		c.svc.Register(w)
		c.settle(t)
		handle, err := w.Start(t.Context(), c.svc, 1, workflow.WithQueue("q"))
		kit.Must(t, err)
		c.spent(t, costs{"has_queue": 1, "start_placed_run": 1, "claim_queue": 1, "park_run": 1}, 0)
		kit.Must(t, letter.Send(t.Context(), c.svc, handle.RunID(), "come"))
		c.spent(t, costs{
			"send_signal": 1, "claim_runs": 1, "find_queues": 1, "claim_queue": 1, "load_woken": 1, "take_step": 1, "end_run": 1,
		}, 0)
	})
}

// An idle worker looks at all queues at once, however many there are, and asks none that has nothing for it: not a paused one, nor one
// with runs of workflows that it does not know, or that are not due.
func TestStatementsOfAnIdleWorkerWithQueues(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(config *workflow.Config) { config.PollInterval = 5 * time.Millisecond })
		w := workflow.Define("w", func(context.Context, int) (int, error) { return 1, nil })
		other := workflow.Define[int, int]("other", nil)
		c.svc.Register(w)
		for _, name := range []string{"empty", "paused", "foreign", "later"} {
			kit.Must(t, c.svc.EnsureQueue(t.Context(), workflow.Queue{Name: name, MaxRunning: 3}))
		}
		kit.Must(t, c.svc.PauseQueue(t.Context(), "paused"))
		for range 20 {
			_, err := w.Start(t.Context(), c.svc, 1, workflow.WithQueue("paused"))
			kit.Must(t, err)
			_, err = w.Start(t.Context(), c.svc, 1, workflow.WithQueue("later"), workflow.WithDelay(time.Hour))
			kit.Must(t, err)
			_, err = other.Start(t.Context(), c.svc, 1, workflow.WithQueue("foreign"))
			kit.Must(t, err)
		}
		c.sofar()
		c.forget()
		kit.Work(t, c.svc)
		kit.Until(t, "it has looked many times", func() bool { return c.sofar()["find_queues"] >= 20 })
		if got := c.sofar(); got["claim_queue"] > 0 {
			t.Errorf("%v; want no claim of any queue", got)
		}
	})
}
