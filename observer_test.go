package workflow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Whatever happens to a run is told, once and in its order; what is replayed is not.
func TestObserverIsToldOfARun(t *testing.T) {
	t.Parallel()
	step := func(ctx context.Context, name string) error {
		_, err := workflow.Do(ctx, name, func(context.Context) (int, error) { return 1, nil })
		return err
	}
	soon := workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 2, FirstDelay: time.Millisecond})
	broken := &workflow.Error{Code: "broken", Message: "it is broken"}
	proceed := workflow.DefineSignal[int]("go")
	calls := make(chan int, 10) // of the function that does not do what it did before
	for name, test := range map[string]struct {
		fn   func(ctx context.Context, _ int) (int, error)
		meet func(t *testing.T, svc *workflow.Service, told *watcher, id string) // after the start; nil: nothing
		want []workflow.EventKind
	}{
		"completed": {
			fn: func(ctx context.Context, _ int) (int, error) { return 1, step(ctx, "one") },
			want: []workflow.EventKind{
				workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepSucceeded,
				workflow.EventRunCompleted,
			},
		},
		"retried": {
			fn: func(ctx context.Context, _ int) (int, error) {
				return workflow.Do(ctx, "one", func(ctx context.Context) (int, error) {
					if workflow.Attempt(ctx) == 1 {
						return 0, broken
					}
					return 1, nil
				}, soon)
			},
			want: []workflow.EventKind{
				workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepRetried,
				workflow.EventStepStarted, workflow.EventStepSucceeded, workflow.EventRunCompleted,
			},
		},
		"failed": {
			fn: func(ctx context.Context, _ int) (int, error) {
				return workflow.Do(ctx, "one", func(context.Context) (int, error) { return 0, workflow.Final(broken) })
			},
			want: []workflow.EventKind{
				workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepFailed,
				workflow.EventRunFailed,
			},
		},
		"parked and woken": {
			fn: func(ctx context.Context, _ int) (int, error) {
				if err := step(ctx, "before"); err != nil {
					return 0, err
				}
				if _, err := proceed.Wait(ctx, time.Hour); err != nil {
					return 0, err
				}
				return 1, step(ctx, "after")
			},
			meet: func(t *testing.T, svc *workflow.Service, told *watcher, id string) {
				parked := told.await(t, id, workflow.EventRunParked)
				if parked.Reason != workflow.SuspendedForSignal || parked.Next <= 0 || !cmp.Equal(parked.WaitsFor, []string{"signal:go", "step:go"}) {
					t.Errorf("parked: %+v", parked)
				}
				kit.Must(t, proceed.Send(t.Context(), svc, id, 1))
				if woken := told.await(t, id, workflow.EventRunWoken); woken.Reason != workflow.SuspendedForSignal {
					t.Errorf("woken: %+v", woken)
				}
			},
			want: []workflow.EventKind{
				workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepSucceeded,
				workflow.EventRunParked, workflow.EventRunClaimed, workflow.EventRunWoken, workflow.EventStepStarted,
				workflow.EventStepSucceeded, workflow.EventRunCompleted,
			},
		},
		"blocked": {
			fn: func(ctx context.Context, _ int) (int, error) {
				name := map[bool]string{true: "one", false: "other"}[len(calls) == 0]
				calls <- 1
				if err := step(ctx, name); err != nil {
					return 0, err
				}
				_, err := proceed.Wait(ctx, time.Hour)
				return 0, err
			},
			meet: func(t *testing.T, svc *workflow.Service, told *watcher, id string) {
				told.await(t, id, workflow.EventRunParked)
				kit.Must(t, proceed.Send(t.Context(), svc, id, 1))
				blocked := told.await(t, id, workflow.EventRunBlocked)
				if blocked.Code != workflow.CodeNondeterministic || blocked.Err == nil {
					t.Errorf("blocked: %+v", blocked)
				}
				kit.Must(t, svc.Cancel(t.Context(), id))
				told.await(t, id, workflow.EventRunCancelled)
			},
			want: []workflow.EventKind{
				workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepSucceeded,
				workflow.EventRunParked, workflow.EventRunClaimed, workflow.EventRunWoken, workflow.EventRunBlocked,
			},
		},
		"cancelled": {
			fn: func(ctx context.Context, _ int) (int, error) {
				return workflow.Do(ctx, "long", func(ctx context.Context) (int, error) {
					<-ctx.Done()
					return 0, ctx.Err()
				})
			},
			meet: func(t *testing.T, svc *workflow.Service, told *watcher, id string) {
				told.await(t, id, workflow.EventStepStarted)
				kit.Must(t, svc.Cancel(t.Context(), id))
				if e := told.await(t, id, workflow.EventStepInterrupted); !errors.Is(e.Err, workflow.ErrRunLost) {
					t.Errorf("interrupted: %+v", e)
				}
				told.await(t, id, workflow.EventRunCancelled)
				told.await(t, id, workflow.EventRunLost)
				// A heartbeat may be faster than the word of who cancels: the order of these two says nothing.
				told.forget(workflow.EventRunCancelled, workflow.EventRunLost)
			},
			want: []workflow.EventKind{
				workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepInterrupted,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, told := setup(t), new(watcher)
			svc := b.watched(told)
			defined := workflow.Define(name, test.fn)
			svc.Register(defined)
			kit.Work(t, svc)
			handle, err := defined.Start(t.Context(), svc, 1)
			kit.Must(t, err)
			if test.meet != nil {
				test.meet(t, svc, told, handle.RunID())
			}
			told.await(t, handle.RunID(), test.want[len(test.want)-1])
			told.await(t, handle.RunID(), workflow.EventRunStarted)
			told.forget(workflow.EventRunStarted) // a claim may be faster than the word of who started it
			events := told.of(handle.RunID())
			events = events[:min(len(events), len(test.want))] // a blocked run is tried again
			if diff := cmp.Diff(test.want, kindsOf(events)); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			for _, e := range events {
				checkEvent(t, e, name)
			}
		})
	}
}

// checkEvent holds an event to what its kind says.
func checkEvent(t *testing.T, e workflow.Event, name string) {
	t.Helper()
	if e.At.IsZero() || e.Kind != workflow.EventRunCancelled && e.Workflow != name {
		t.Errorf("an event without a time or its workflow: %+v", e)
	}
	switch e.Kind {
	case workflow.EventStepStarted, workflow.EventStepSucceeded, workflow.EventStepInterrupted:
		if e.Step == "" || e.Attempt < 1 {
			t.Errorf("an attempt without its number: %+v", e)
		}
	case workflow.EventStepRetried, workflow.EventStepFailed:
		if e.Code != "broken" || e.Err == nil || e.Attempt != 1 || (e.Next > 0) != (e.Kind == workflow.EventStepRetried) {
			t.Errorf("a failed attempt: %+v", e)
		}
	case workflow.EventRunFailed:
		if e.Code != "broken" || e.Took <= 0 {
			t.Errorf("a failed run: %+v", e)
		}
	case workflow.EventRunCompleted, workflow.EventRunParked:
		if e.Took <= 0 {
			t.Errorf("what has become of a run, without its time: %+v", e)
		}
	}
}

// A worker that stops gives its runs back, and another one begins with them: each is told by whom it happens to.
func TestObserverIsToldOfTheNextWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Must(t, b.svc.EnsureQueue(t.Context(), workflow.Queue{Name: "slow"}))
	first, second := new(watcher), new(watcher)
	inside, leave := make(chan struct{}, 1), make(chan struct{})
	twice := workflow.Define("twice", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.Do(ctx, "one", func(context.Context) (int, error) {
			inside <- struct{}{}
			<-leave
			return 1, nil
		})
		if err != nil {
			return 0, err
		}
		return workflow.Do(ctx, "two", func(context.Context) (int, error) { return 2, nil })
	})
	svc := b.watched(first)
	svc.Register(twice)
	ctx, stop := context.WithCancel(t.Context())
	working := kit.Go(t, func() error { return svc.Work(ctx) })
	handle, err := twice.Start(t.Context(), svc, 1, workflow.WithQueue("slow"))
	kit.Must(t, err)
	kit.Receive(t, "the first step", inside)
	stop()
	close(leave)
	kit.Must(t, kit.Receive(t, "the end of work", working))

	next := b.watched(second)
	next.Register(twice)
	kit.Work(t, next)
	_, err = handle.Result(t.Context())
	kit.Must(t, err)
	first.await(t, handle.RunID(), workflow.EventRunHandedBack)
	second.await(t, handle.RunID(), workflow.EventRunCompleted)
	want := []workflow.EventKind{
		workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepSucceeded, workflow.EventRunHandedBack,
		workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepSucceeded, workflow.EventRunCompleted,
	}
	first.await(t, handle.RunID(), workflow.EventRunStarted)
	first.forget(workflow.EventRunStarted)
	events := append(first.of(handle.RunID()), second.of(handle.RunID())...)
	if diff := cmp.Diff(want, kindsOf(events)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	for _, e := range events {
		if e.Queue != "slow" {
			t.Errorf("an event without the queue: %+v", e)
		}
	}
	if claimed := second.await(t, handle.RunID(), workflow.EventRunClaimed); claimed.Waited <= 0 || claimed.Waited > time.Hour {
		t.Errorf("the run had waited %s", claimed.Waited)
	}
}

// A run that waits in its queue until its deadline fails there, executed by nobody.
func TestObserverIsToldOfADeadlineInAQueue(t *testing.T) {
	t.Parallel()
	b, told := setup(t), new(watcher)
	svc := b.watched(told)
	late := workflow.Define("late", func(context.Context, int) (int, error) { return 1, nil })
	svc.Register(late)
	kit.Must(t, svc.EnsureQueue(t.Context(), workflow.Queue{Name: "paused"}))
	kit.Must(t, svc.PauseQueue(t.Context(), "paused"))
	kit.Work(t, svc)
	handle, err := late.Start(t.Context(), svc, 1, workflow.WithQueue("paused"), workflow.WithDeadline(time.Millisecond))
	kit.Must(t, err)
	failed := told.await(t, handle.RunID(), workflow.EventRunFailed)
	if failed.Workflow != "late" || failed.Queue != "paused" || failed.Code != workflow.CodeDeadline {
		t.Errorf("told: %+v", failed)
	}
}

// The run of a worker that was killed is taken over, and its second step alone is executed again.
func TestObserverIsToldOfATakeOver(t *testing.T) {
	t.Parallel()
	b, told := setup(t), new(watcher)
	two := twoSteps(b.db, noHold, untold)
	starter := b.svc
	victim := b.spawn()
	handle, err := two.Start(t.Context(), starter, "in")
	kit.Must(t, err)
	victim.Says("inside")
	victim.Kill()

	heir := b.watched(told)
	heir.Register(two)
	kit.Work(t, heir)
	_, err = handle.Result(t.Context())
	kit.Must(t, err)
	told.await(t, handle.RunID(), workflow.EventRunCompleted)
	want := []workflow.EventKind{
		workflow.EventRunTakenOver, workflow.EventRunClaimed, workflow.EventStepStarted, workflow.EventStepSucceeded, workflow.EventRunCompleted,
	}
	events := told.of(handle.RunID())
	kinds := kindsOf(events)
	if len(kinds) > 1 && kinds[0] == workflow.EventRunClaimed { // by the loop that claims, before the one that takes over has said so
		kinds[0], kinds[1] = kinds[1], kinds[0]
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	for _, e := range events {
		if e.Workflow != "two" || e.Step != "" && e.Step != "second" {
			t.Errorf("told: %+v", e)
		}
	}
}

// Whoever starts runs, in whatever way, is told once of each new one, and of none that was there.
func TestObserverIsToldOfStarts(t *testing.T) {
	t.Parallel()
	b, told := setup(t), new(watcher)
	svc := b.watched(told)
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
	parent := workflow.Define("parent", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.CallAll(ctx, "children", child, []int{1, 2})
		return 0, err
	})
	svc.Register(child, parent)
	kit.Work(t, svc)
	for range 2 {
		_, err := child.Start(t.Context(), svc, 1, workflow.WithRunID("chosen"))
		kit.Must(t, err)
	}
	tx := kit.Begin(t, b.db)
	inTx, err := child.Start(t.Context(), svc.In(tx), 1)
	kit.Must(t, err)
	kit.Must(t, tx.Commit())
	family, err := parent.Start(t.Context(), svc, 1)
	kit.Must(t, err)
	_, err = family.Result(t.Context())
	kit.Must(t, err)
	kit.Must(t, child.SetSchedule(t.Context(), svc, workflow.Schedule{Name: "hourly", Every: time.Hour}, 1))
	triggered, err := svc.TriggerSchedule(t.Context(), "hourly")
	kit.Must(t, err)
	kit.Must(t, child.SetSchedule(t.Context(), svc, workflow.Schedule{Name: "often", Every: time.Second}, 1))
	kit.Until(t, "a tick", func() bool {
		schedule, err := svc.GetSchedule(t.Context(), "often")
		kit.Must(t, err)
		return schedule.Started > 0
	})
	kit.Must(t, svc.DeleteSchedule(t.Context(), "often"))
	ticked := kit.One[string](t, b.db, "SELECT min(id) FROM workflows.workflow_runs WHERE id LIKE 'often/%'")

	ids := append(kit.Column[string](t, b.db, "SELECT id FROM workflows.workflow_runs WHERE parent_id = $1", family.RunID()),
		"chosen", inTx.RunID(), family.RunID(), triggered, ticked)
	if len(ids) != 7 {
		t.Fatalf("runs: %q", ids)
	}
	for _, id := range ids {
		told.await(t, id, workflow.EventRunStarted)
		n := 0
		for _, e := range told.of(id) {
			if e.Kind == workflow.EventRunStarted {
				n++
				if e.Workflow != "child" && e.Workflow != "parent" {
					t.Errorf("start without a workflow: %+v", e)
				}
			}
		}
		if n != 1 {
			t.Errorf("run %q was told as started %d times", id, n)
		}
	}
}
