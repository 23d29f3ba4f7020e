package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// parking makes every wait park.
func parking(c *workflow.Config) { c.ParkAfter = time.Nanosecond }

func (b *bench) get(runID string) workflow.Run {
	b.t.Helper()
	run, err := b.svc.GetRun(context.Background(), runID)
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

// A long sleep is a suspended row without an owner; another worker goes on after it, and the steps before it are replayed.
func TestSleepParks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var before, bodies atomic.Int32
	w := workflow.Define("sleep", func(ctx context.Context, _ int) (int, error) {
		bodies.Add(1)
		if _, err := workflow.Do(ctx, "before", func(context.Context) (int32, error) { return before.Add(1), nil }); err != nil {
			return 0, err
		}
		if err := workflow.Sleep(ctx, "nap", time.Second); err != nil {
			return 0, err
		}
		return workflow.Do(ctx, "after", value(7))
	})
	first := b.service(parking)
	first.Register(w)
	stop := kit.Work(t, first)
	handle, err := w.Start(t.Context(), b.svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	kit.Until(t, "the run is parked", func() bool { return b.get(handle.RunID()).Status == workflow.RunSuspended })
	stop()
	run := b.get(handle.RunID())
	if run.Owner != "" || run.RunAt.Sub(run.CreatedAt) < time.Second {
		t.Errorf("parked: owner %q, runs %s after its creation; want none, and a second or more", run.Owner, run.RunAt.Sub(run.CreatedAt))
	}

	second := b.service(parking)
	second.Register(w)
	kit.Work(t, second)
	got, err := handle.Result(kit.Context(t))
	if err != nil || got != 7 {
		t.Fatalf("result %d, %v; want 7", got, err)
	}
	if before.Load() != 1 || bodies.Load() < 2 {
		t.Errorf("step before the sleep ran %d times, the function %d times; want 1, and 2 or more", before.Load(), bodies.Load())
	}
	if end := b.get(handle.RunID()); end.UpdatedAt.Before(run.RunAt) {
		t.Errorf("finished at %s, before it was to wake at %s", end.UpdatedAt, run.RunAt)
	}
}

// A short sleep is waited for in process: the function is called once.
func TestShortSleepStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var bodies atomic.Int32
	_, _, err := run(b, "short", func(ctx context.Context, _ int) (int, error) {
		bodies.Add(1)
		return 0, workflow.Sleep(ctx, "nap", 50*time.Millisecond)
	})
	if err != nil || bodies.Load() != 1 {
		t.Errorf("function called %d times, %v; want once", bodies.Load(), err)
	}
}

// A step in flight in another goroutine finishes and is recorded before the run is parked.
func TestParkingWaitsForStepsInFlight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var slow atomic.Int32
	inside, release := make(chan struct{}), make(chan struct{})
	w := workflow.Define("parallel", func(ctx context.Context, _ int) (int, error) {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return workflow.Sleep(workflow.Branch(ctx, "a"), "nap", 300*time.Millisecond) })
		group.Go(func() error {
			_, err := workflow.Do(workflow.Branch(ctx, "b"), "slow", func(ctx context.Context) (int, error) {
				if slow.Add(1) == 1 {
					close(inside)
				}
				<-release
				return 1, ctx.Err()
			})
			return err
		})
		return int(slow.Load()), group.Wait()
	})
	svc := b.service(parking)
	svc.Register(w)
	kit.Work(t, svc)
	handle, err := w.Start(t.Context(), svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-inside
	kit.Until(t, "the sleep is recorded", func() bool {
		step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "a/nap")
		return err == nil && step.Status == workflow.StepSucceeded
	})
	if status := b.get(handle.RunID()).Status; status != workflow.RunRunning {
		t.Errorf("%s while a step is in flight, want running", status)
	}
	close(release)
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Fatal(err)
	}
	if slow.Load() != 1 {
		t.Errorf("the step in flight ran %d times, want once", slow.Load())
	}
}

// A goroutine that works on while another sleeps long gets all its steps done, however often the run is parked.
func TestBusyBranchBesideASleep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(parking)
	w := workflow.Define("busy", func(ctx context.Context, _ int) (int, error) {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return workflow.Sleep(workflow.Branch(ctx, "sleeper"), "nap", 2*time.Second) })
		group.Go(func() error {
			ctx := workflow.Branch(ctx, "worker")
			for i := range 5 {
				pause := time.NewTimer(60 * time.Millisecond) // work between steps, longer than the first patience
				<-pause.C
				if _, err := workflow.Do(ctx, "s", value(i)); err != nil {
					return err
				}
			}
			return nil
		})
		return 1, group.Wait()
	})
	svc.Register(w)
	kit.Work(t, svc)
	handle, err := w.Start(t.Context(), svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Fatal(err)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("delayed", func(context.Context, int) (int, error) { return 1, nil })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0, workflow.WithDelay(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if run := b.get(handle.RunID()); run.RunAt.Sub(run.CreatedAt) != 500*time.Millisecond {
		t.Errorf("may run %s after its creation, want 500ms", run.RunAt.Sub(run.CreatedAt))
	}
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Fatal(err)
	}
	if run := b.get(handle.RunID()); run.UpdatedAt.Sub(run.CreatedAt) < 500*time.Millisecond {
		t.Errorf("finished %s after its creation", run.UpdatedAt.Sub(run.CreatedAt))
	}
}

// The deadline ends a run that is executed, one that is parked, and one that nobody has claimed before.
func TestDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(parking)
	ended := make(chan error, 1)
	executed := workflow.Define("executed", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return 0, ctx.Err()
		})
	})
	parked := workflow.Define("parked", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "long", time.Hour)
	})
	late := workflow.Define("late", func(context.Context, int) (int, error) { return 1, nil })
	svc.Register(executed, parked)
	kit.Work(t, svc)
	deadline := workflow.WithDeadline(2 * time.Second) // time enough to be called before, on a busy machine
	want := workflow.CodeDeadline

	for _, w := range []*workflow.Workflow[int, int]{executed, parked, late} {
		handle, err := w.Start(t.Context(), svc, 0, deadline)
		if err != nil {
			t.Fatal(err)
		}
		if w == late {
			kit.Until(t, "the deadline has passed", func() bool {
				var passed bool
				err := b.db.QueryRow(`SELECT extract(epoch FROM now()) * 1000 > deadline_at FROM workflows.workflow_runs WHERE id = $1`,
					handle.RunID()).Scan(&passed)
				return err == nil && passed
			})
			svc.Register(late)
		}
		if _, err := handle.Result(kit.Context(t)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want the code deadline", w.Name(), err)
		}
	}
	if err := kit.Receive(t, "the step's context has ended", ended); !errors.Is(err, want) {
		t.Errorf("the step's context ended with %v, want the deadline", err)
	}
}
