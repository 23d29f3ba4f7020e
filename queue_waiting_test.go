package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run that waits in a queue can be cancelled and deleted, and its deadline passes; whoever waits for it is told.
func TestQueuedRunsThatNeverBegin(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		b.lease = 6 * time.Second // its heartbeats find overdue runs
		b.svc = b.service()
		b.ensure(workflow.Queue{Name: "shut"})
		kit.Must(t, b.svc.PauseQueue(t.Context(), "shut"))
		b.ensure(workflow.Queue{Name: "full", MaxRunning: 1})
		var called atomic.Int32
		w := workflow.Define("w", func(context.Context, int) (int, error) { called.Add(1); return 1, nil })
		hold := workflow.Define("hold", func(ctx context.Context, _ int) (string, error) {
			return workflow.Do(ctx, "hold", func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() })
		})
		parent := workflow.Define("parent", func(ctx context.Context, queue string) (string, error) {
			_, err := workflow.Call(ctx, "child", w, 1, workflow.WithQueue(queue), workflow.WithDeadline(50*time.Millisecond))
			return fmt.Sprint("late: ", errors.Is(err, workflow.CodeDeadline)), notInterrupted(err)
		})
		b.svc.Register(w, hold, parent)
		kit.Work(t, b.svc)
		held, err := hold.Start(t.Context(), b.svc, 1, workflow.WithQueue("full"))
		kit.Must(t, err)
		kit.Until(t, "the queue is full", func() bool { return b.queue("full").Running == 1 })

		for _, queue := range []string{"shut", "full"} {
			start := func(options ...workflow.StartOption) *workflow.Handle[int] {
				handle, err := w.Start(t.Context(), b.svc, 1, append(options, workflow.WithQueue(queue))...)
				kit.Must(t, err)
				return handle
			}
			_, err := start(workflow.WithDeadline(50 * time.Millisecond)).Result(kit.Context(t))
			if !errors.Is(err, workflow.CodeDeadline) {
				t.Errorf("%s, its deadline passed: %v", queue, err)
			}
			cancelled, deleted := start(), start()
			kit.Must(t, cancelled.Cancel(t.Context()))
			_, err = cancelled.Result(kit.Context(t))
			kit.WantIs(t, err, workflow.ErrRunCancelled)
			kit.Must(t, b.svc.DeleteRun(t.Context(), deleted.RunID()))
			_, err = deleted.Result(kit.Context(t))
			kit.WantIs(t, err, workflow.ErrRunNotFound)

			told, err := parent.Start(t.Context(), b.svc, queue)
			kit.Must(t, err)
			ends(t, told, "late: true")
			if got := b.queue(queue); got.Waiting != 0 {
				t.Errorf("%s: %d still wait", queue, got.Waiting)
			}
		}
		kit.Must(t, held.Cancel(t.Context()))
		if called.Load() != 0 {
			t.Errorf("%d of them have begun", called.Load())
		}
	})
}

// notInterrupted is an error that the function must return, of those that a call gives.
func notInterrupted(err error) error {
	if errors.Is(err, workflow.ErrInterrupted) {
		return err
	}
	return nil
}

// Whoever waits for a queued run is told why it does not begin.
func TestResultSaysWhatAQueuedRunWaitsFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var g turnstile
	w := g.workflow()
	b.svc.Register(w)
	kit.Work(t, b.svc)
	b.ensure(workflow.Queue{Name: "shut"})
	kit.Must(t, b.svc.PauseQueue(t.Context(), "shut"))
	b.ensure(workflow.Queue{Name: "full", MaxRunning: 1})
	_, err := w.Start(t.Context(), b.svc, 0, workflow.WithQueue("full"))
	kit.Must(t, err)
	kit.Until(t, "the queue is full", func() bool { return b.queue("full").Running == 1 })
	for queue, want := range map[string]string{"shut": "which is paused", "full": "which is full: 1 of at most 1"} {
		handle, err := w.Start(t.Context(), b.svc, 1, workflow.WithQueue(queue))
		kit.Must(t, err)
		_, err = handle.Result(kit.Within(t, 100*time.Millisecond))
		if err == nil || !strings.Contains(err.Error(), `"`+queue+`"`) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want the queue named, and %q", queue, err, want)
		}
	}
	g.release(10)
}
