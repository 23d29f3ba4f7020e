package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// ensure creates a queue.
func (b *bench) ensure(queue workflow.Queue) {
	b.t.Helper()
	kit.Must(b.t, b.svc.EnsureQueue(b.t.Context(), queue))
}

// queue returns a queue as it stands.
func (b *bench) queue(name string) workflow.QueueState {
	b.t.Helper()
	queue, err := b.svc.GetQueue(b.t.Context(), name)
	kit.Must(b.t, err)
	return queue
}

// moments leaves out of a QueueState what is different each time.
var moments = cmpopts.IgnoreFields(workflow.QueueState{}, "PausedAt", "CreatedAt", "UpdatedAt", "Lag")

// A queue is what was set, and all its limits are what was set last; ensuring it changes nothing.
func TestQueueIsAsItWasSet(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		full := workflow.Queue{
			Name: "a", MaxRunning: 7, MaxPerWorker: 5, MaxPerPartition: 3, Rate: workflow.Rate{Count: 10, Per: time.Minute, Burst: 4},
		}
		kit.Must(t, b.svc.EnsureQueue(ctx, full))
		kit.Must(t, b.svc.SetQueue(ctx, workflow.Queue{Name: "b", Rate: workflow.PerHour(6)}))
		kit.Must(t, b.svc.PauseQueue(ctx, "b"))
		kit.Must(t, b.svc.PauseQueue(ctx, "b"))
		kit.Must(t, b.svc.EnsureQueue(ctx, workflow.Queue{Name: "b", MaxRunning: 1}))
		all := workflow.Queue{Name: "c", MaxRunning: 9, MaxPerWorker: 9, MaxPerPartition: 9, Rate: workflow.PerSecond(9)}
		kit.Must(t, b.svc.SetQueue(ctx, all))
		kit.Must(t, b.svc.SetQueue(ctx, workflow.Queue{Name: "c"}))
		kit.Must(t, b.svc.ResumeQueue(ctx, "c"))

		queues, err := b.svc.ListQueues(ctx)
		kit.Must(t, err)
		hourly := workflow.Queue{Name: "b", Rate: workflow.Rate{Count: 6, Per: time.Hour, Burst: 1}}
		want := []workflow.QueueState{{Queue: full}, {Queue: hourly}, {Queue: workflow.Queue{Name: "c"}}}
		if diff := cmp.Diff(want, queues, moments); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, queue := range queues {
			paused := !queue.PausedAt.IsZero()
			if paused != (queue.Name == "b") || queue.CreatedAt.IsZero() || queue.UpdatedAt.Before(queue.CreatedAt) {
				t.Errorf("queue %q: paused %t, created %s, updated %s", queue.Name, paused, queue.CreatedAt, queue.UpdatedAt)
			}
		}

		pausedAt := b.queue("b").PausedAt
		kit.Must(t, b.svc.SetQueue(ctx, full))
		kit.Must(t, b.svc.SetQueue(ctx, workflow.Queue{Name: "b"}))
		if got := b.queue("b"); !got.PausedAt.Equal(pausedAt) || got.Rate != (workflow.Rate{}) {
			t.Errorf("set while it is paused: %+v, want it paused since %s, without a rate", got, pausedAt)
		}
	})
}

// What is done to a queue in a transaction is there if and only if that commits.
func TestQueuesInATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		for _, commit := range []bool{false, true} {
			name := func(s string) string { return fmt.Sprintf("%s %t", s, commit) }
			b.ensure(workflow.Queue{Name: name("pause")})
			b.ensure(workflow.Queue{Name: name("resume")})
			kit.Must(t, b.svc.PauseQueue(ctx, name("resume")))

			tx := kit.Begin(t, b.db)
			in := b.svc.In(tx)
			kit.Must(t, in.SetQueue(ctx, workflow.Queue{Name: name("set"), MaxRunning: 1}))
			kit.Must(t, in.EnsureQueue(ctx, workflow.Queue{Name: name("ensure"), MaxRunning: 2}))
			kit.Must(t, in.PauseQueue(ctx, name("pause")))
			kit.Must(t, in.ResumeQueue(ctx, name("resume")))
			if got, err := in.GetQueue(ctx, name("set")); err != nil || got.MaxRunning != 1 {
				t.Errorf("within the transaction: %+v, %v", got, err)
			}
			before, err := b.svc.ListQueues(ctx)
			kit.Must(t, err)
			if slices.ContainsFunc(before, func(q workflow.QueueState) bool { return q.Name == name("set") || q.Name == name("ensure") }) {
				t.Errorf("before the end: %+v", before)
			}
			if commit {
				kit.Must(t, tx.Commit())
			} else {
				kit.Must(t, tx.Rollback())
			}

			for verb, limit := range map[string]int{"set": 1, "ensure": 2} {
				got, err := b.svc.GetQueue(ctx, name(verb))
				if commit && (err != nil || got.MaxRunning != limit) || !commit && !errors.Is(err, workflow.ErrQueueNotFound) {
					t.Errorf("%s, commit %t: %+v, %v", verb, commit, got, err)
				}
			}
			if paused := !b.queue(name("pause")).PausedAt.IsZero(); paused != commit {
				t.Errorf("pause, commit %t: paused %t", commit, paused)
			}
			if paused := !b.queue(name("resume")).PausedAt.IsZero(); paused == commit {
				t.Errorf("resume, commit %t: paused %t", commit, paused)
			}
		}
	})
}

// A queue and a run in it, in one transaction: both or neither. What the process has learned of the queue in there it forgets, since it
// may be rolled back.
func TestQueueAndRunInATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n + 1, nil })
		b.svc = b.service(func(c *workflow.Config) { c.PollInterval, c.Lease = time.Hour, time.Hour })
		b.svc.Register(w)
		kit.Work(t, b.svc)
		begin := func() (*sql.Tx, *workflow.Handle[int]) {
			tx := kit.Begin(t, b.db)
			kit.Must(t, b.svc.In(tx).SetQueue(t.Context(), workflow.Queue{Name: "q", MaxRunning: 1}))
			handle, err := w.Start(t.Context(), b.svc.In(tx), 1, workflow.WithQueue("q"))
			kit.Must(t, err)
			return tx, handle
		}
		refused := func(when string) {
			t.Helper()
			if _, err := w.Start(t.Context(), b.svc, 1, workflow.WithQueue("q")); !errors.Is(err, workflow.ErrQueueNotFound) {
				t.Errorf("start %s: %v, want ErrQueueNotFound", when, err)
			}
		}

		tx, handle := begin()
		refused("beside the transaction")
		kit.Must(t, tx.Rollback())
		_, err := handle.Result(kit.Context(t))
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		refused("after the rollback")

		tx, handle = begin()
		kit.Must(t, tx.Commit())
		b.svc.Wake() // the worker looks no sooner than in an hour
		if got, err := handle.Result(kit.Context(t)); err != nil || got != 2 {
			t.Errorf("after the commit: %d, %v", got, err)
		}
	})
}

// Whichever way a run is started, its row says where it waits, and lists find it by its queue.
func TestRunsOfAQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		b.ensure(workflow.Queue{Name: "q", MaxRunning: 3, MaxPerPartition: 2})
		child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
		parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) {
			called, err := workflow.Call(ctx, "call", child, n,
				workflow.WithQueue("q"), workflow.WithPartition("p"), workflow.WithPriority(workflow.PriorityHigh))
			if err != nil {
				return 0, err
			}
			all, err := workflow.CallAll(ctx, "all", child, []int{n, n},
				workflow.WithQueue("q"), workflow.WithPriority(workflow.PriorityLowest))
			if err != nil {
				return 0, err
			}
			spawned, err := workflow.Spawn(ctx, "spawn", child, n, workflow.WithQueue("q"), workflow.WithPartition("s"))
			if err != nil {
				return 0, err
			}
			if _, err := workflow.Call(ctx, "plain", child, n); err != nil { // does not inherit the queue
				return 0, err
			}
			return called + all[0].Value + all[1].Value + len(spawned.RunID()), nil
		})
		b.svc.Register(parent, child)
		kit.Work(t, b.svc)
		handle, err := parent.Start(t.Context(), b.svc, 1,
			workflow.WithQueue("q"), workflow.WithPriority(workflow.PriorityHighest), workflow.WithUnique("u"))
		kit.Must(t, err)
		_, err = handle.Result(kit.Context(t))
		kit.Must(t, err)

		var found []string
		page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{Queue: "q"})
		kit.Must(t, err)
		for _, run := range page.Runs {
			found = append(found, fmt.Sprintf("%s %s %q %q %q", run.Workflow, run.Queue, run.Priority, run.Partition, run.UniqueKey))
		}
		slices.Sort(found)
		want := []string{
			`child q "high" "p" ""`, `child q "lowest" "" ""`, `child q "lowest" "" ""`, `child q "normal" "s" ""`, `parent q "highest" "" "u"`,
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("runs of the queue (-want +got):\n%s", diff)
		}
		for filter, want := range map[*workflow.RunFilter]int{
			{Queue: "q", Workflow: "parent"}: 1, {Queue: "q", ParentID: handle.RunID()}: 4, {ParentID: handle.RunID()}: 5, {Queue: "other"}: 0,
		} {
			page, err := b.svc.ListRuns(t.Context(), *filter)
			kit.Must(t, err)
			if len(page.Runs) != want {
				t.Errorf("filter %+v finds %d runs, want %d", *filter, len(page.Runs), want)
			}
		}
		plain, err := b.svc.GetStepState(t.Context(), handle.RunID(), "plain")
		kit.Must(t, err)
		if last := b.get(plain.ChildID); last.Queue != "" || last.Priority != workflow.PriorityNormal || last.Partition != "" {
			t.Errorf("the run that was called without a queue: %+v", last)
		}
		kit.Until(t, "all have ended", func() bool {
			stats, err := b.svc.Stats(t.Context())
			kit.Must(t, err)
			return stats.Runs[workflow.RunCompleted] == 6
		})
	})
}
