package workflow_test

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A worker is killed inside the second step: another one takes over after the lease and does that step alone.
func TestKilledWorkerIsTakenOver(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	two := twoSteps(b.db, noHold, untold)
	handle, err := two.Start(t.Context(), b.svc, "in")
	if err != nil {
		t.Fatal(err)
	}
	c := b.spawn()
	c.Says("inside")
	c.Signal(syscall.SIGKILL)

	b.svc.Register(two)
	kit.Work(t, b.svc)
	got, err := handle.Result(kit.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	child, here := fmt.Sprint(c.PID()), fmt.Sprint(os.Getpid())
	if want := "in: " + child + " then " + here; got != want {
		t.Errorf("result %q, want %q", got, want)
	}
	want := map[string][]string{"first": {child}, "second": {here}}
	if diff := cmp.Diff(want, b.effects(handle.RunID())); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// A run that takes many leases is not taken from a worker that lives.
func TestLiveRunIsNotStolen(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	two := twoSteps(b.db, noHold, untold)
	handle, err := two.Start(t.Context(), b.svc, "in")
	if err != nil {
		t.Fatal(err)
	}
	c := b.spawn()
	c.Says("inside")
	before, err := b.svc.GetRun(t.Context(), handle.RunID())
	if err != nil {
		t.Fatal(err)
	}

	b.svc.Register(two)
	kit.Work(t, b.svc)
	_, err = handle.Result(kit.Within(t, 4*testLease))
	if err == nil {
		t.Fatal("the run was finished by a worker that does not own it")
	}
	after, err := b.svc.GetRun(t.Context(), handle.RunID())
	if err != nil {
		t.Fatal(err)
	}
	if before.Owner == "" || before.Owner != after.Owner {
		t.Errorf("owner was %q and is %q", before.Owner, after.Owner)
	}
	if diff := cmp.Diff(before.UpdatedAt, after.UpdatedAt); diff != "" {
		t.Errorf("the run changed (-before +after):\n%s", diff)
	}
}

// A worker that was frozen for longer than its lease writes nothing when it goes on, although the step that it comes back
// with is not recorded yet.
func TestFrozenWorkerWritesNothing(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	inside, release := make(chan struct{}), make(chan struct{})
	two := twoSteps(b.db, func(context.Context) {
		close(inside)
		<-release
	}, untold)
	handle, err := two.Start(t.Context(), b.svc, "in")
	if err != nil {
		t.Fatal(err)
	}
	c := b.spawn()
	c.Says("inside")
	c.Signal(syscall.SIGSTOP)

	b.svc.Register(two)
	kit.Work(t, b.svc)
	<-inside // taken over, and in the step that the frozen worker is in
	c.Signal(syscall.SIGCONT)
	c.Says("refused: true") // after its effect, which is not in our hands
	step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "second")
	if err != nil || step.Status != workflow.StepPending {
		t.Errorf("the frozen worker recorded its step: %s %s, %v", step.Status, step.Result, err)
	}

	close(release)
	got, err := handle.Result(kit.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	child, here := fmt.Sprint(c.PID()), fmt.Sprint(os.Getpid())
	if want := "in: " + child + " then " + here; got != want {
		t.Errorf("result %q, want %q", got, want)
	}
	if effects := b.effects(handle.RunID())["second"]; len(effects) != 2 {
		t.Errorf("the second step took effect in %v, want both processes", effects)
	}
}
