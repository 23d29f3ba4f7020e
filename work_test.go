package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// run registers a workflow, executes it once and returns how it ended.
func run[Out any](b *bench, name string, fn func(context.Context, int) (Out, error)) (*workflow.Handle[Out], Out, error) {
	b.t.Helper()
	w := workflow.Define(name, fn)
	b.svc.Register(w)
	handle, err := w.Start(b.t.Context(), b.svc, 7)
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := handle.Result(kit.Context(b.t))
	return handle, out, err
}

func value[T any](v T) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return v, nil }
}

func TestRepeatedNamesAreNumbered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	handle, sum, err := run(b, "loop", func(ctx context.Context, n int) (int, error) {
		sum := 0
		for i := range n {
			v, err := workflow.Do(ctx, "add", value(i))
			if err != nil {
				return 0, err
			}
			sum += v
		}
		return sum, nil
	})
	if err != nil || sum != 21 {
		t.Fatalf("result %d, %v; want 21", sum, err)
	}
	steps, err := b.svc.ListSteps(t.Context(), handle.RunID())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, step := range steps {
		got[step.Name] = string(step.Result)
	}
	want := map[string]string{
		"add": "0", "add#1": "1", "add#2": "2", "add#3": "3", "add#4": "4", "add#5": "5", "add#6": "6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// What a step returns is rebuilt from its record the first time too: what JSON does not carry is gone.
func TestFirstRunIsAsItsReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	type mixed struct {
		Kept    string
		dropped string
	}
	_, got, err := run(b, "mixed", func(ctx context.Context, _ int) (string, error) {
		m, err := workflow.Do(ctx, "make", value(mixed{Kept: "kept", dropped: "dropped"}))
		return m.Kept + m.dropped, err
	})
	if err != nil || got != "kept" {
		t.Errorf("result %q, %v; want kept", got, err)
	}
}

func TestFailuresKeepTheirCode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	declined := &workflow.Error{Code: "card_declined"}
	handle, _, err := run(b, "decline", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.Do(ctx, "charge", func(context.Context) (int, error) {
			return 0, workflow.Final(&workflow.Error{Code: "card_declined", Message: "the bank said no"})
		})
		if !errors.Is(err, declined) {
			t.Errorf("in the workflow: %v, want the code card_declined", err)
		}
		return 0, err
	})
	var failed *workflow.RunError
	if !errors.As(err, &failed) || !errors.Is(err, declined) {
		t.Fatalf("result: %v, want a *RunError with the code card_declined", err)
	}
	if failed.RunID != handle.RunID() || failed.Err.Step != "charge" || failed.Err.Code != "card_declined" || failed.Err.Message != "the bank said no" {
		t.Errorf("result: %+v", failed)
	}
	run, err := b.svc.GetRun(t.Context(), handle.RunID())
	if err != nil || run.Status != workflow.RunFailed || !errors.Is(run.Err, declined) {
		t.Errorf("run: %+v, %v", run, err)
	}
}

// A code is an error by itself, and is recorded as such.
func TestACodeIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	declined := workflow.Code("card_declined")
	for name, failure := range map[string]error{"bare": declined, "wrapped": fmt.Errorf("the bank said no: %w", declined)} {
		_, _, err := run(b, name, func(ctx context.Context, _ int) (int, error) {
			v, err := workflow.Do(ctx, "charge", func(context.Context) (int, error) { return 0, workflow.Final(failure) })
			if !errors.Is(err, declined) || err.Error() != failure.Error() {
				t.Errorf("%s, in the workflow: %v", name, err)
			}
			return v, err
		})
		if !errors.Is(err, declined) {
			t.Errorf("%s, the run's: %v", name, err)
		}
	}
}

func TestPanicsAreFailures(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	inStep := func(ctx context.Context, _ int) (int, error) {
		once := workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 1})
		return workflow.Do(ctx, "boom", func(context.Context) (int, error) { panic("in the step") }, once)
	}
	inBody := func(context.Context, int) (int, error) { panic("in the body") }
	for name, fn := range map[string]func(context.Context, int) (int, error){"step": inStep, "body": inBody} {
		handle, _, err := run(b, "panic in "+name, fn)
		if !errors.Is(err, &workflow.Error{Code: "panic"}) || !strings.Contains(err.Error(), "in the "+name) {
			t.Errorf("%s: result %v, want the panic", name, err)
		}
		run, err := b.svc.GetRun(t.Context(), handle.RunID())
		var stored *workflow.Error
		if err != nil || !errors.As(run.Err, &stored) || !strings.Contains(stored.Stack, "work_test.go") {
			t.Errorf("%s: stack %q, %v; want this file in it", name, stored.Stack, err)
		}
	}
}

func TestMisusedSteps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	one := value(1)

	if _, err := workflow.Do(t.Context(), "s", one); !errors.Is(err, workflow.ErrOutsideRun) {
		t.Errorf("outside a run: %v, want ErrOutsideRun", err)
	}
	var kept context.Context
	_, _, err := run(b, "misuse", func(ctx context.Context, _ int) (int, error) {
		kept = ctx
		for _, name := range []string{"", "a#b", "a/b", "a\x00b", strings.Repeat("x", 1025)} {
			if _, err := workflow.Do(ctx, name, one); !errors.Is(err, workflow.ErrInvalidArgument) {
				t.Errorf("step name %.10q: %v, want ErrInvalidArgument", name, err)
			}
		}
		_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (int, error) {
			return workflow.Do(ctx, "inner", one)
		})
		if err == nil || !strings.Contains(err.Error(), workflow.ErrStepNested.Error()) {
			t.Errorf("nested: %v, want ErrStepNested", err)
		}
		inside, release := make(chan struct{}), make(chan struct{})
		var other sync.WaitGroup
		other.Go(func() {
			_, err := workflow.Do(ctx, "same", func(context.Context) (int, error) {
				close(inside)
				<-release
				return 1, nil
			})
			if err != nil {
				t.Errorf("the first of two: %v", err)
			}
		})
		<-inside
		if _, err := workflow.Do(ctx, "same", one); !errors.Is(err, workflow.ErrBranchBusy) {
			t.Errorf("the second of two: %v, want ErrBranchBusy", err)
		}
		close(release)
		other.Wait()
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workflow.Do(kept, "late", one); !errors.Is(err, workflow.ErrFunctionReturned) {
		t.Errorf("after the end: %v, want ErrFunctionReturned", err)
	}
}

// A step whose result cannot be encoded has failed; it is not tried for ever.
func TestUnencodableResultFailsTheStep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	for name, result := range map[string]any{"channel": make(chan int), "NUL": "a\x00b"} {
		_, _, err := run(b, name, func(ctx context.Context, _ int) (any, error) {
			return workflow.Do(ctx, "make", value(result))
		})
		var failed *workflow.RunError
		if !errors.As(err, &failed) || !strings.Contains(failed.Err.Message, workflow.ErrInvalidArgument.Error()) {
			t.Errorf("%s: %v, want a failed run that says invalid argument", name, err)
		}
	}
}

func TestUnknownWorkflowsAreLeftForOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	foreign := workflow.Define("foreign", func(context.Context, int) (int, error) { return 1, nil })
	handle, err := foreign.Start(t.Context(), b.svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	kit.Work(t, b.svc)
	if _, _, err := run(b, "own", func(context.Context, int) (int, error) { return 1, nil }); err != nil {
		t.Fatal(err)
	}
	got, err := b.svc.GetRun(t.Context(), handle.RunID())
	if err != nil || got.Status != workflow.RunPending {
		t.Fatalf("status %s, %v; want pending", got.Status, err)
	}

	other := b.service() // a deploy that knows it
	other.Register(foreign)
	kit.Work(t, other)
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Error(err)
	}
}

func TestResultOfRunsFromElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("elsewhere", func(context.Context, int) (int, error) { return 1, nil })
	here := b.service() // does not work
	other := b.service()
	other.Register(w)

	handle, err := w.Start(t.Context(), here, 0, workflow.WithRunID("mine"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := handle.Result(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before anybody works: %v, want the context's error", err)
	}
	kit.Work(t, other)
	if got, err := w.Handle(here, "mine").Result(kit.Context(t)); err != nil || got != 1 {
		t.Errorf("result %d, %v; want 1", got, err)
	}
	if _, err := w.Handle(here, "none").Result(kit.Context(t)); !errors.Is(err, workflow.ErrRunNotFound) {
		t.Errorf("unknown run: %v, want ErrRunNotFound", err)
	}
	id, err := here.CreateRun(t.Context(), "by hand", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := here.UpdateRunStatus(t.Context(), id, workflow.RunCancelled, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := workflow.Define[int, int]("by hand", nil).Handle(here, id).Result(kit.Context(t)); !errors.Is(err, workflow.ErrRunCancelled) {
		t.Errorf("cancelled run: %v, want ErrRunCancelled", err)
	}
	again, err := w.Start(t.Context(), here, 0, workflow.WithRunID("mine"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Result(kit.Context(t)); err != nil || got != 1 {
		t.Errorf("started again: %d, %v; want the same run's 1", got, err)
	}
	if _, err := w.Start(t.Context(), here, 1, workflow.WithRunID("mine")); !errors.Is(err, workflow.ErrRunConflict) {
		t.Errorf("started again with another input: %v, want ErrRunConflict", err)
	}
}

func TestRegisterPanicsOnMistakes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fn := func(context.Context, int) (int, error) { return 0, nil }
	b.svc.Register(workflow.Define("taken", fn))
	for _, name := range []string{"taken", "", strings.Repeat("x", 256)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("registering %.10q did not panic", name)
				}
			}()
			b.svc.Register(workflow.Define(name, fn))
		}()
	}
}

// Workers of two processes share the runs: each run is executed by one of them.
func TestWorkersShareRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const runs = 200
	var executed sync.Map
	w := workflow.Define("count", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
			if _, twice := executed.LoadOrStore(workflow.RunID(ctx), true); twice {
				t.Errorf("run %s was executed twice", workflow.RunID(ctx))
			}
			return n, nil
		})
	})
	for range 3 {
		svc := b.service()
		svc.Register(w)
		kit.Work(t, svc)
	}
	handles := make([]*workflow.Handle[int], runs)
	for i := range handles {
		handle, err := w.Start(t.Context(), b.svc, i)
		if err != nil {
			t.Fatal(err)
		}
		handles[i] = handle
	}
	for i, handle := range handles {
		if got, err := handle.Result(kit.Context(t)); err != nil || got != i {
			t.Fatalf("run %d: %d, %v", i, got, err)
		}
	}
}

// What is wrong with a registration is seen when the program begins, not when a run comes.
func TestRegisterRefusesMistakes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	known := workflow.Define("known", func(context.Context, int) (int, error) { return 1, nil })
	b.svc.Register(known)
	for want, mistake := range map[string]workflow.Definition{
		"nil function":       workflow.Define[int, int]("nil", nil),
		"registered already": known,
		"name":               workflow.Define("", func(context.Context, int) (int, error) { return 1, nil }),
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("Register panicked with %q, want %q", got, want)
				}
			}()
			b.svc.Register(mistake)
		}()
	}
}
