package workflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Whatever lets a queued run begin tells this process's worker, which would not look by itself for an hour.
func TestEveryQueueVerbWakesItsWorker(t *testing.T) {
	t.Parallel()
	all := setup(t)
	w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
	hold := workflow.Define("hold", func(ctx context.Context, _ int) (int, error) { // takes the only place of its queue, for good
		return workflow.Do(ctx, "hold", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	})
	start := func(t *testing.T, on workflow.Session, queue string, options ...workflow.StartOption) *workflow.Handle[int] {
		t.Helper()
		handle, err := w.Start(t.Context(), on, 1, append(options, workflow.WithQueue(queue))...)
		kit.Must(t, err)
		return handle
	}
	full := func(t *testing.T, b *bench, queue string) *workflow.Handle[int] {
		t.Helper()
		b.ensure(workflow.Queue{Name: queue, MaxRunning: 1})
		held, err := hold.Start(t.Context(), b.svc, 1, workflow.WithQueue(queue))
		kit.Must(t, err)
		t.Cleanup(func() { kit.Must(t, held.Cancel(context.WithoutCancel(t.Context()))) }) // else the worker waits for it when it stops
		kit.Until(t, "the queue is full", func() bool { return b.queue(queue).Running == 1 })
		return held
	}
	for name, begins := range map[string]func(t *testing.T, b *bench) *workflow.Handle[int]{
		"Start": func(t *testing.T, b *bench) *workflow.Handle[int] {
			b.ensure(workflow.Queue{Name: "start"})
			return start(t, b.svc, "start")
		},
		"the end of a run": func(t *testing.T, b *bench) *workflow.Handle[int] {
			held := full(t, b, "end")
			waiting := start(t, b.svc, "end")
			b.others()
			kit.Must(t, held.Cancel(t.Context()))
			return waiting
		},
		"SetQueue": func(t *testing.T, b *bench) *workflow.Handle[int] {
			full(t, b, "set")
			waiting := start(t, b.svc, "set")
			b.others()
			kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "set", MaxRunning: 2}))
			return waiting
		},
		"SetQueue in a transaction": func(t *testing.T, b *bench) *workflow.Handle[int] {
			full(t, b, "set in tx")
			waiting := start(t, b.svc, "set in tx")
			b.others()
			tx := kit.Begin(t, b.db)
			kit.Must(t, b.svc.In(tx).SetQueue(t.Context(), workflow.Queue{Name: "set in tx"}))
			kit.Must(t, tx.Commit())
			b.svc.Wake()
			return waiting
		},
		"ResumeQueue": func(t *testing.T, b *bench) *workflow.Handle[int] {
			b.ensure(workflow.Queue{Name: "resume"})
			kit.Must(t, b.svc.PauseQueue(t.Context(), "resume"))
			waiting := start(t, b.svc, "resume")
			b.others() // meanwhile the worker has found that it is paused
			kit.Must(t, b.svc.ResumeQueue(t.Context(), "resume"))
			return waiting
		},
		"Resume": func(t *testing.T, b *bench) *workflow.Handle[int] {
			b.ensure(workflow.Queue{Name: "resumed"})
			cancelled := start(t, b.svc, "resumed", workflow.WithDelay(time.Hour))
			kit.Must(t, cancelled.Cancel(t.Context()))
			kit.Must(t, b.svc.Resume(t.Context(), cancelled.RunID()))
			return cancelled
		},
		"Wake": func(t *testing.T, b *bench) *workflow.Handle[int] {
			b.ensure(workflow.Queue{Name: "wake"})
			tx := kit.Begin(t, b.db)
			started := start(t, b.svc.In(tx), "wake")
			kit.Must(t, tx.Commit())
			b.svc.Wake()
			return started
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := all.with(t)
			b.svc = b.service(func(c *workflow.Config) { c.PollInterval, c.Lease = time.Hour, time.Hour })
			b.svc.Register(w, hold, quick)
			kit.Work(t, b.svc) // each has a worker of its own, or one would be woken by another's verb
			if got, err := begins(t, b).Result(kit.Context(t)); err != nil || got != 1 {
				t.Errorf("result %d, %v", got, err)
			}
		})
	}
}
