package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/dispatchtest"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A queue in memory, and one in the database, pass what every adapter must pass.
func TestDispatchers(t *testing.T) {
	t.Parallel()
	for _, access := range pgtest.Accesses {
		switch {
		case !pgtest.Full() && access.Name != pgtest.PGX.Name:
			continue
		case access.Pooled && !pgtest.PoolerSurvivesCancel(): // consumers end while the server works
			continue
		}
		open := func(t *testing.T) *sql.DB { return pgtest.New(t).Open(t, access) }
		if access.Name == pgtest.PGX.Name { // it sends nothing itself
			t.Run("in memory", func(t *testing.T) {
				t.Parallel()
				dispatchtest.Run(t, open, func(*testing.T, *sql.DB) dispatchtest.Queue {
					queue := newChannelQueue()
					return dispatchtest.Queue{Dispatcher: queue, Consume: queue.consume}
				})
			})
		}
		t.Run(access.Name+" in the database", func(t *testing.T) {
			t.Parallel()
			dispatchtest.Run(t, open, func(t *testing.T, db *sql.DB) dispatchtest.Queue {
				queue := newTableQueue(t, db)
				return dispatchtest.Queue{Dispatcher: queue, Consume: queue.consume}
			})
		})
	}
}

// dispatched is a bench whose service has a queue, which nobody consumes unless the test does.
func dispatched(t *testing.T, queue workflow.Dispatcher, changes ...func(*workflow.Config)) *bench {
	t.Helper()
	b := setup(t)
	b.svc = b.service(append([]func(*workflow.Config){func(c *workflow.Config) {
		c.Dispatcher, c.RedispatchAfter, c.ParkAfter = queue, time.Hour, time.Millisecond
	}}, changes...)...)
	return b
}

// Workers leave alone what is for a consumer, and Execute says what became of a message.
func TestExecute(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue)
	asks := workflow.Define("asks", func(ctx context.Context, n int) (string, error) {
		if n > 1 {
			return "", nil
		}
		return news.Wait(ctx, 0)
	})
	foreign := workflow.Define[int, int]("foreign", nil)
	b.svc.Register(asks)
	handle, err := asks.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	id := handle.RunID()
	if got := kit.Receive(t, "the message", queue.messages); got != id {
		t.Errorf("the message names %q, want %q", got, id)
	}
	execute := func(id string) error { return b.svc.Execute(kit.Context(t), id) }
	kit.WantIs(t, execute(id), workflow.ErrNotWorking)
	kit.Work(t, b.svc)
	other := b.service() // without a queue
	other.Register(asks)
	kit.Work(t, other)
	plain, err := asks.Start(t.Context(), b.service(), 2)
	kit.Must(t, err)
	_, err = plain.Result(kit.Context(t)) // whoever has claimed it would have claimed what waited before it
	kit.Must(t, err)
	if run := b.get(id); run.Status != workflow.RunPending {
		t.Errorf("a run that is for a consumer is %s: a worker has claimed it", run.Status)
	}
	kit.Until(t, "the service works", func() bool { return !errors.Is(execute("nobody"), workflow.ErrNotWorking) })

	kit.WantIs(t, execute("nobody"), workflow.ErrRunNotFound)
	kit.WantIs(t, execute(""), workflow.ErrInvalidArgument)
	unknown, err := foreign.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	kit.WantIs(t, execute(unknown.RunID()), workflow.ErrUnknownWorkflow)
	if run := b.get(unknown.RunID()); run.Status != workflow.RunPending {
		t.Errorf("a run of a workflow that is not known here is %s", run.Status)
	}

	kit.WantIs(t, execute(id), nil)
	b.waiting(id, "signal:news")
	kit.WantIs(t, execute(id), nil) // it waits
	kit.Must(t, news.Send(t.Context(), b.svc, id, "good"))
	kit.Receive(t, "the message of the unknown run", queue.messages)
	if got := kit.Receive(t, "the message of what was woken", queue.messages); got != id {
		t.Errorf("the message names %q, want %q", got, id)
	}
	kit.WantIs(t, execute(id), nil)
	if got, err := handle.Result(kit.Context(t)); got != "good" || err != nil {
		t.Errorf("result %q, %v", got, err)
	}
	kit.WantIs(t, execute(id), nil) // it has ended
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := unknown.Result(ctx); err == nil || !strings.Contains(err.Error(), "Service.Execute") {
		t.Errorf("a run that nobody executes: %v", err)
	}
	if len(queue.messages) > 0 {
		t.Errorf("%d more messages than there was something to do", len(queue.messages))
	}
}

var news = workflow.DefineSignal[string]("news")

// The end of its context hands a run back when its step has ended, and soon after Drain when it does not end.
func TestExecuteIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		drain time.Duration
		hangs bool
	}{
		{"its step ends", kit.Patience, false},
		{"its step does not end", 50 * time.Millisecond, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			queue := newChannelQueue()
			b := dispatched(t, queue, func(c *workflow.Config) { c.Drain = test.drain })
			inside, finish := make(chan struct{}), make(chan struct{})
			calls := 0
			w := workflow.Define("busy", func(ctx context.Context, _ int) (int, error) {
				calls++
				first, err := workflow.Do(ctx, "first", func(ctx context.Context) (int, error) {
					if calls > 1 {
						return calls, nil
					}
					close(inside)
					if test.hangs {
						<-ctx.Done()
						return 0, ctx.Err()
					}
					<-finish
					return calls, nil
				})
				if err != nil {
					return 0, err
				}
				return workflow.Do(ctx, "second", func(context.Context) (int, error) { return 10*calls + first, nil })
			})
			b.svc.Register(w)
			kit.Work(t, b.svc)
			handle, err := w.Start(t.Context(), b.svc, 1)
			kit.Must(t, err)
			id := kit.Receive(t, "the message", queue.messages)
			ctx, cancel := context.WithCancel(t.Context())
			executed := kit.Go(t, func() error { return b.executeWorking(ctx, id) })
			kit.Receive(t, "the step", inside)
			cancel()
			close(finish)
			kit.WantIs(t, kit.Receive(t, "the end of Execute", executed), nil)
			if run := b.get(id); run.Status != workflow.RunPending {
				t.Errorf("a run that was handed back is %s", run.Status)
			}
			if got := kit.Receive(t, "another message", queue.messages); got != id {
				t.Errorf("the message names %q, want %q", got, id)
			}
			kit.WantIs(t, b.executeWorking(kit.Context(t), id), nil)
			want := map[bool]int{false: 21, true: 22}[test.hangs]
			if got, err := handle.Result(kit.Context(t)); got != want || err != nil {
				t.Errorf("result %d, %v; want %d", got, err, want)
			}
		})
	}
}

// executeWorking executes once the service works.
func (b *bench) executeWorking(ctx context.Context, id string) (err error) {
	kit.Until(b.t, "the service works", func() bool {
		err = b.svc.Execute(ctx, id)
		return !errors.Is(err, workflow.ErrNotWorking)
	})
	return err
}

// A run whose worker has died is announced again when it is taken over.
func TestDispatchedRunIsTakenOver(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue)
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) { return workflow.Do(ctx, "s", value(1)) })
	b.svc.Register(w)
	handle, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	id := kit.Receive(t, "the message", queue.messages)
	kit.Exec(t, b.db, `
		WITH another AS (
		    INSERT INTO workflows.workflow_workers (id, expires_at) VALUES ('another', 9000000000000) RETURNING id
		)
		UPDATE workflows.workflow_runs SET status = 'running', owner = another.id, epoch = 1, run_at = NULL, dispatched_at = 0 FROM another`)
	kit.Work(t, b.svc)
	kit.WantIs(t, b.executeWorking(kit.Context(t), id), nil)
	if run := b.get(id); run.Owner != "another" {
		t.Errorf("the owner of the run is %q, want the one that lives", run.Owner)
	}
	kit.Exec(t, b.db, "UPDATE workflows.workflow_workers SET expires_at = 1 WHERE id = 'another'")
	if got := kit.Receive(t, "the message of the run that was taken over", queue.messages); got != id {
		t.Errorf("the message names %q, want %q", got, id)
	}
	kit.WantIs(t, b.svc.Execute(kit.Context(t), id), nil)
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Error(err)
	}
}

// A message whose run somebody's transaction holds waits a little, and comes again.
func TestExecuteOfALockedRun(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue)
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) { return workflow.Do(ctx, "s", value(1)) })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	id := kit.Receive(t, "the message", queue.messages)
	tx := kit.Begin(t, b.db)
	kit.Exec(t, tx, "SELECT FROM workflows.workflow_runs WHERE id = $1 FOR UPDATE", id)
	kit.WantIs(t, b.executeWorking(kit.Context(t), id), workflow.ErrLockTimeout)
	executed := kit.Go(t, func() error { return b.svc.Execute(kit.Context(t), id) })
	kit.Must(t, tx.Rollback())
	kit.WantIs(t, kit.Receive(t, "the end of Execute", executed), nil)
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Error(err)
	}
}

// rogueQueue is a dispatcher that does what no code should.
type rogueQueue struct {
	*channelQueue
	does chan func(ctx context.Context) error // instead, for one call each
}

func (q *rogueQueue) Dispatch(ctx context.Context, runIDs []string) error {
	select {
	case do := <-q.does:
		return do(ctx)
	default:
		return q.channelQueue.Dispatch(ctx, runIDs)
	}
}

// A dispatcher that panics, ends its goroutine or does not return harms nobody: what it was to be told of it is told later.
func TestRogueDispatcher(t *testing.T) {
	t.Parallel()
	queue := &rogueQueue{newChannelQueue(), make(chan func(context.Context) error, 10)}
	b := dispatched(t, queue, func(c *workflow.Config) { c.Timeout = 2 * time.Second })
	w := workflow.Define("w", func(ctx context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(w)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for _, does := range []func(context.Context) error{
		func(context.Context) error { panic("at the disco") },
		func(context.Context) error { runtime.Goexit(); return nil },
		func(context.Context) error { <-release; return nil },
		func(context.Context) error { return panickyError{} },
	} {
		queue.does <- does // for Start
		queue.does <- does // for the sweep
		handle, err := w.Start(t.Context(), b.svc, 1)
		kit.Must(t, err)
		stop := kit.Work(t, b.svc)
		if got := kit.Receive(t, "the message", queue.messages); got != handle.RunID() {
			t.Errorf("the message names %q, want %q", got, handle.RunID())
		}
		kit.WantIs(t, b.executeWorking(kit.Context(t), handle.RunID()), nil)
		stop()
	}
}

type panickyError struct{}

func (panickyError) Error() string { panic("no words") }

// A run that the queue refuses keeps no other from being announced.
func TestQueueThatRefusesOneRun(t *testing.T) {
	t.Parallel()
	queue := &pickyQueue{newChannelQueue(), "bad"}
	b := dispatched(t, queue)
	w := workflow.Define("w", func(ctx context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(w)
	tx := kit.Begin(t, b.db) // so that the sweep announces them together
	for _, id := range []string{"bad", "good 1", "good 2", "good 3"} {
		_, err := w.Start(t.Context(), b.svc.In(tx), 1, workflow.WithRunID(id))
		kit.Must(t, err)
	}
	kit.Must(t, tx.Commit())
	kit.Work(t, b.svc)
	got := make(map[string]bool)
	for range 3 {
		got[kit.Receive(t, "the messages of the others", queue.messages)] = true
	}
	if !got["good 1"] || !got["good 2"] || !got["good 3"] {
		t.Errorf("messages of %v", got)
	}
}

type pickyQueue struct {
	*channelQueue
	refuses string
}

func (q *pickyQueue) Dispatch(ctx context.Context, runIDs []string) error {
	for _, id := range runIDs {
		if id == q.refuses {
			return errors.New("not this one")
		}
	}
	return q.channelQueue.Dispatch(ctx, runIDs)
}
