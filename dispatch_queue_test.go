package workflow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A message does not get a run past the limits of its queue, or past a pause: it comes again.
func TestExecuteObeysQueues(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue)
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "one", MaxRunning: 1}))
	inside, finish := make(chan struct{}), make(chan struct{})
	w := workflow.Define("w", func(ctx context.Context, waits bool) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) {
			if waits {
				close(inside)
				<-finish
			}
			return 1, nil
		})
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	start := func(waits bool) string {
		handle, err := w.Start(t.Context(), b.svc, waits, workflow.WithQueue("one"))
		kit.Must(t, err)
		if got := kit.Receive(t, "the message", queue.messages); got != handle.RunID() {
			t.Errorf("the message names %q, want %q", got, handle.RunID())
		}
		return handle.RunID()
	}
	first, second := start(true), start(false)
	executed := kit.Go(t, func() error { return b.executeWorking(kit.Context(t), first) })
	kit.Receive(t, "the first run", inside)
	kit.WantIs(t, b.svc.Execute(kit.Context(t), second), workflow.ErrQueueFull)
	close(finish)
	kit.WantIs(t, kit.Receive(t, "the end of the first run", executed), nil)

	kit.Must(t, b.svc.PauseQueue(t.Context(), "one"))
	kit.WantIs(t, b.svc.Execute(kit.Context(t), second), workflow.ErrQueueFull)
	kit.Must(t, b.svc.ResumeQueue(t.Context(), "one"))
	kit.WantIs(t, b.svc.Execute(kit.Context(t), second), nil)
	for _, id := range []string{first, second} {
		if run := b.get(id); run.Status != workflow.RunCompleted {
			t.Errorf("run %q is %s", id, run.Status)
		}
	}
}

// A deadline passes although the message never comes.
func TestDeadlineOfADispatchedRun(t *testing.T) {
	t.Parallel()
	b := dispatched(t, newChannelQueue())
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) { return 1, nil })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 1, workflow.WithDeadline(100*time.Millisecond))
	kit.Must(t, err)
	if _, err := handle.Result(kit.Context(t)); !errors.Is(err, workflow.CodeDeadline) {
		t.Errorf("result: %v, want %v", err, workflow.CodeDeadline)
	}
}

// Whoever starts a run in vain, because the key or the id is taken, gets the run that is there.
func TestDispatchedRunThatIsThere(t *testing.T) {
	t.Parallel()
	for name, queue := range map[string]func(b *bench) workflow.Dispatcher{
		"in memory":       func(*bench) workflow.Dispatcher { return newChannelQueue() },
		"in the database": func(b *bench) workflow.Dispatcher { return newTableQueue(b.t, b.db) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.svc = b.service(func(c *workflow.Config) { c.Dispatcher = queue(b) })
			w := workflow.Define[int, int]("w", nil)
			for _, option := range []workflow.StartOption{workflow.WithRunID("chosen"), workflow.WithUnique("key")} {
				first, err := w.Start(t.Context(), b.svc, 1, option)
				kit.Must(t, err)
				again, err := w.Start(t.Context(), b.svc, 1, option)
				kit.Must(t, err)
				if first.RunID() != again.RunID() {
					t.Errorf("started %q and then %q", first.RunID(), again.RunID())
				}
				kit.WantIs(t, second(w.Start(t.Context(), b.svc, 2, option)), workflow.ErrRunConflict)
			}
		})
	}
}

// What becomes runnable in this process is announced at once, however rarely its worker would look.
func TestWhatWakesHereIsAnnouncedAtOnce(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue, func(c *workflow.Config) { c.PollInterval = time.Hour })
	child := workflow.Define("child", func(ctx context.Context, n int) (int, error) { return n, nil })
	parent := workflow.Define("parent", func(ctx context.Context, _ int) (string, error) {
		if _, err := workflow.CallAll(ctx, "all", child, []int{1, 2, 3}); err != nil {
			return "", err
		}
		return news.Wait(ctx, 0)
	})
	b.svc.Register(child, parent)
	kit.Work(t, b.svc)
	stop, err := queue.consume(b.svc.Execute)
	kit.Must(t, err)
	t.Cleanup(stop)

	for range 2 { // the first may be found by the sweep that a worker begins with
		tx := kit.Begin(t, b.db)
		handle, err := parent.Start(t.Context(), b.svc.In(tx), 1)
		kit.Must(t, err)
		kit.Must(t, tx.Commit())
		b.svc.Wake()
		b.waiting(handle.RunID(), "signal:news") // its children have been executed, and then it again
		kit.Must(t, news.Send(t.Context(), b.svc, handle.RunID(), "good"))
		if got, err := handle.Result(kit.Context(t)); got != "good" || err != nil {
			t.Errorf("result %q, %v", got, err)
		}
	}
}
