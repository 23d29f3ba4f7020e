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

// When Work's context ends, the step in flight finishes and is recorded; the run goes on elsewhere from there.
func TestDrain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inside, release := make(chan struct{}), make(chan struct{})
	var firsts, seconds atomic.Int32
	w := workflow.Define("drain", func(ctx context.Context, _ int) (int, error) {
		first, err := workflow.Do(ctx, "first", func(context.Context) (int, error) {
			if firsts.Add(1) == 1 {
				close(inside)
			}
			<-release
			return 1, nil
		})
		if err != nil {
			return 0, err
		}
		second, err := workflow.Do(ctx, "second", func(context.Context) (int, error) { return int(seconds.Add(1)), nil })
		return first + second, err
	})
	b.svc.Register(w)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.svc.Work(ctx) }()
	handle, err := w.Start(t.Context(), b.svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-inside
	cancel()
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	run, err := b.svc.GetRun(t.Context(), handle.RunID())
	if err != nil || run.Status != workflow.RunPending || run.Owner != "" {
		t.Errorf("after Work: %s, owner %q, %v; want pending without owner", run.Status, run.Owner, err)
	}
	step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "first")
	if err != nil || step.Status != workflow.StepSucceeded {
		t.Errorf("step in flight: %s, %v; want succeeded", step.Status, err)
	}

	other := b.service()
	other.Register(w)
	kit.Work(t, other)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 2 {
		t.Errorf("result %d, %v; want 2", got, err)
	}
	if firsts.Load() != 1 || seconds.Load() != 1 {
		t.Errorf("steps ran %d and %d times, want once each", firsts.Load(), seconds.Load())
	}
}

// A function that goes on when its context ends does not keep Work for longer than the drain allows.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc, err := workflow.New(workflow.Config{DB: b.db, Drain: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	inside, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w := workflow.Define("deaf", func(ctx context.Context, _ int) (int, error) {
		defer close(ended)
		return workflow.Do(ctx, "s", func(context.Context) (int, error) {
			close(inside)
			<-release
			return 1, nil
		})
	})
	svc.Register(w)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Work(ctx) }()
	handle, err := w.Start(t.Context(), svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-inside
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-kit.Context(t).Done():
		t.Fatal("Work did not return")
	}
	run, err := svc.GetRun(t.Context(), handle.RunID())
	if err != nil || run.Status != workflow.RunPending {
		t.Errorf("status %s, %v; want pending", run.Status, err)
	}
	close(release)
	<-ended
	step, err := svc.GetStepState(t.Context(), handle.RunID(), "s")
	if err != nil || step.Status != workflow.StepPending {
		t.Errorf("the step was recorded after the run was handed back: %s, %v", step.Status, err)
	}
	if err := svc.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsWorkAndWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service()
	w := workflow.Define("never", func(context.Context, int) (int, error) { return 1, nil })
	handle, err := w.Start(t.Context(), svc, 0) // nobody registered it
	if err != nil {
		t.Fatal(err)
	}
	worked, waited := make(chan error, 1), make(chan error, 1)
	go func() { worked <- svc.Work(context.Background()) }()
	go func() {
		_, err := handle.Result(context.Background())
		waited <- err
	}()
	svc.Register(workflow.Define("quick", func(context.Context, int) (int, error) { return 1, nil }))
	quick, err := workflow.Define[int, int]("quick", nil).Start(t.Context(), svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quick.Result(kit.Context(t)); err != nil {
		t.Fatal(err)
	}
	if err := svc.Work(t.Context()); !errors.Is(err, workflow.ErrWorking) {
		t.Errorf("Work while working: %v, want ErrWorking", err)
	}
	if err := svc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-worked; err != nil {
		t.Errorf("Work: %v, want nil", err)
	}
	if err := <-waited; !errors.Is(err, workflow.ErrClosed) {
		t.Errorf("Result: %v, want ErrClosed", err)
	}
	if err := svc.Work(t.Context()); !errors.Is(err, workflow.ErrClosed) {
		t.Errorf("Work after Close: %v, want ErrClosed", err)
	}
}
