package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run that another process executes: its step's context ends with that worker's next heartbeat.
func TestCancelReachesAnotherProcess(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	inside, ended := make(chan struct{}), make(chan error, 1)
	w := workflow.Define("long", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
			close(inside)
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return 1, nil // a success that comes too late
		})
	})
	worker := b.service()
	worker.Register(w)
	kit.Work(t, worker)
	handle, err := w.Start(t.Context(), b.svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-inside
	if err := b.svc.Cancel(t.Context(), handle.RunID()); err != nil {
		t.Fatal(err)
	}
	if err := b.svc.Cancel(t.Context(), handle.RunID()); err != nil {
		t.Errorf("cancelled again: %v, want nil", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, workflow.ErrRunLost) {
			t.Errorf("context ended with %v, want ErrRunLost", err)
		}
	case <-kit.Within(t, 2*testLease).Done():
		t.Fatal("the step's context did not end with a heartbeat")
	}
	if _, err := handle.Result(kit.Context(t)); !errors.Is(err, workflow.ErrRunCancelled) {
		t.Errorf("result %v, want ErrRunCancelled", err)
	}
	kit.Until(t, "the worker is idle", func() bool { return inFlight(t, worker) == 0 })
	if step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "s"); err != nil || step.Status != workflow.StepPending {
		t.Errorf("step %s, %v; want pending: nothing is written after Cancel", step.Status, err)
	}
}

func TestCancelOfAParkedRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(parking)
	w := workflow.Define("parked", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "long", time.Hour)
	})
	svc.Register(w)
	kit.Work(t, svc)
	handle, err := w.Start(t.Context(), svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	kit.Until(t, "the run is parked", func() bool { return b.get(handle.RunID()).Status == workflow.RunSuspended })
	if err := svc.Cancel(t.Context(), handle.RunID()); err != nil {
		t.Fatal(err)
	}
	if _, err := handle.Result(kit.Context(t)); !errors.Is(err, workflow.ErrRunCancelled) {
		t.Errorf("result %v, want ErrRunCancelled", err)
	}
}

// Resume goes on from the last good step: what succeeded is not done again, what failed is.
func TestResume(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var first, handled, second atomic.Int32
	var mended atomic.Bool
	w := workflow.Define("resume", func(ctx context.Context, _ int) (int, error) {
		if _, err := workflow.Do(ctx, "first", func(context.Context) (int32, error) { return first.Add(1), nil }); err != nil {
			return 0, err
		}
		_, err := workflow.Do(ctx, "handled", func(context.Context) (int, error) {
			handled.Add(1)
			return 0, workflow.Final(errors.New("expected"))
		})
		if err == nil || errors.Is(err, workflow.ErrInterrupted) {
			return 0, err
		}
		return workflow.Do(ctx, "second", func(context.Context) (int, error) {
			second.Add(1)
			if !mended.Load() {
				return 0, workflow.Final(errors.New("broken"))
			}
			return 2, nil
		})
	})
	b.svc.Register(w)
	handle, err := w.Start(t.Context(), b.svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handle.Result(kit.Context(t)); err == nil {
		t.Fatal("the run did not fail")
	}
	mended.Store(true)
	if err := b.svc.Resume(t.Context(), handle.RunID()); err != nil {
		t.Fatal(err)
	}
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 2 {
		t.Fatalf("result %d, %v; want 2", got, err)
	}
	if first.Load() != 1 || handled.Load() != 1 || second.Load() != 2 {
		t.Errorf("steps ran %d, %d, %d times; want 1, 1, 2", first.Load(), handled.Load(), second.Load())
	}
	var refused *workflow.TransitionError
	if err := b.svc.Resume(t.Context(), handle.RunID()); !errors.As(err, &refused) {
		t.Errorf("resuming a completed run: %v, want a *TransitionError", err)
	}
	if err := b.svc.Cancel(t.Context(), handle.RunID()); !errors.As(err, &refused) {
		t.Errorf("cancelling a completed run: %v, want a *TransitionError", err)
	}
	if err := b.svc.Cancel(t.Context(), "none"); !errors.Is(err, workflow.ErrRunNotFound) {
		t.Errorf("cancelling nothing: %v, want ErrRunNotFound", err)
	}
}
