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

// A step inside a step is refused, also with the context of the workflow's function, which the closure has at hand. Neither
// runs: passing the first time and failing on replay would be worse.
func TestStepsInStepsAreRefused(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]func(outer, ctx context.Context, f func(context.Context) (int, error)) error{
		"the step's context": func(_, ctx context.Context, f func(context.Context) (int, error)) error {
			_, err := workflow.Do(ctx, "inner", f)
			return err
		},
		"the function's context": func(outer, _ context.Context, f func(context.Context) (int, error)) error {
			_, err := workflow.Do(outer, "inner", f)
			return err
		},
		"the function's context, a sleep": func(outer, _ context.Context, _ func(context.Context) (int, error)) error {
			return workflow.Sleep(outer, "inner", time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			kit.Work(t, b.svc)
			var called atomic.Int32
			handle, _, err := run(b, "nested", func(ctx context.Context, _ int) (int, error) {
				return workflow.Do(ctx, "outer", func(step context.Context) (int, error) {
					return 0, inner(ctx, step, func(context.Context) (int, error) { called.Add(1); return 1, nil })
				}, quickly(3))
			})
			if err == nil || !strings.Contains(err.Error(), "inner") {
				t.Errorf("result %v, want it refused and the step named", err)
			}
			if called.Load() != 0 {
				t.Error("the inner step was executed")
			}
			step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "outer")
			if err != nil || step.Attempts != nil && step.Attempts.Count > 1 {
				t.Errorf("outer step %+v, %v; want it refused once", step.Attempts, err)
			}
		})
	}
}

// Each error of misuse names the step that it is about.
func TestMisuseErrorsNameTheStep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(func(c *workflow.Config) { c.MaxSteps = 5 })
	kit.Work(t, b.svc)
	one := value(1)
	wants := func(what string, err, is error) {
		t.Helper()
		if !errors.Is(err, is) || !strings.Contains(err.Error(), `"that step"`) {
			t.Errorf("%s: %v, want %v and the step named", what, err, is)
		}
	}
	_, err := workflow.Do(t.Context(), "that step", one)
	wants("outside a run", err, workflow.ErrOutsideRun)
	wants("a sleep outside a run", workflow.Sleep(t.Context(), "that step", 1), workflow.ErrOutsideRun)
	var kept context.Context
	_, _, _ = run(b, "misuse", func(ctx context.Context, _ int) (int, error) {
		kept = ctx
		_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (int, error) {
			_, err := workflow.Do(ctx, "that step", one)
			wants("nested", err, workflow.ErrStepNested)
			return 1, nil
		})
		return 0, err
	})
	_, err = workflow.Do(kept, "that step", one)
	wants("after the end", err, workflow.ErrFunctionReturned)
	_, _, _ = run(b, "too many", func(ctx context.Context, _ int) (int, error) {
		for i := range 5 {
			if _, err := workflow.Do(ctx, fmt.Sprint("s", i), one); err != nil {
				t.Error(err)
			}
		}
		_, err := workflow.Do(ctx, "that step", one)
		wants("too many", err, workflow.ErrTooManySteps)
		return 0, err
	})
	_, _, _ = run(b, "bad policy", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.Do(ctx, "that step", one, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: -1}))
		wants("a negative policy", err, workflow.ErrInvalidArgument)
		return 0, nil
	})
}

type shape interface{ Area() float64 }

type square struct{ Side float64 }

func (s square) Area() float64 { return s.Side * s.Side }

type hidden struct{ secret int }

// What cannot come back from its record is refused before it is recorded, and before the effect where that can be known.
func TestResultsThatCannotComeBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var calls atomic.Int32
	for name, fn := range map[string]func(context.Context, int) (int, error){
		"an interface": func(ctx context.Context, _ int) (int, error) {
			_, err := workflow.Do(ctx, "s", func(context.Context) (shape, error) { calls.Add(1); return square{2}, nil }, quickly(3))
			return 0, err
		},
		"a struct with an interface": func(ctx context.Context, _ int) (int, error) {
			_, err := workflow.Do(ctx, "s", func(context.Context) (struct{ S shape }, error) {
				calls.Add(1)
				return struct{ S shape }{square{2}}, nil
			}, quickly(3))
			return 0, err
		},
		"a struct without exported fields": func(ctx context.Context, _ int) (int, error) {
			got, err := workflow.Do(ctx, "s", func(context.Context) (hidden, error) { calls.Add(1); return hidden{7}, nil }, quickly(3))
			return got.secret, err
		},
		"an error": func(ctx context.Context, _ int) (int, error) {
			_, err := workflow.Do(ctx, "s", func(context.Context) (error, error) { calls.Add(1); return errors.New("x"), nil }, quickly(3))
			return 0, err
		},
	} {
		calls.Store(0)
		handle, got, err := run(b, name, fn)
		if err == nil || !strings.Contains(err.Error(), `"s"`) && !strings.Contains(err.Error(), `step s`) {
			t.Errorf("%s: result %d, %v; want an error that names the step", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "<nil>") {
			t.Errorf("%s: %v does not name the type", name, err)
		}
		if step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "s"); err != nil || step.Status == workflow.StepSucceeded {
			t.Errorf("%s: the step is %s with %s, %v", name, step.Status, step.Result, err)
		}
		if calls.Load() > 1 {
			t.Errorf("%s: called %d times, want at most once", name, calls.Load())
		}
	}
}

// A handle is of one workflow: the output of another is not decoded as its own.
func TestHandlesOfAnotherWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	handle, got, err := run(b, "a", func(_ context.Context, n int) (int, error) { return n, nil })
	if err != nil || got != 7 {
		t.Fatal(got, err)
	}
	other := workflow.Define("b", func(_ context.Context, n int) (int, error) { return n, nil })
	for name, svc := range map[string]*workflow.Service{"here": b.svc, "elsewhere": b.service()} {
		if got, err := other.Handle(svc, handle.RunID()).Result(kit.Within(t, busy)); err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%s: %d, %v; want it refused, and the run's own workflow named", name, got, err)
		}
	}
}

// A sleep that waits does not read as done, and cannot be answered by hand.
func TestASleepThatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(parking)
	w := workflow.Define("sleeper", func(ctx context.Context, n int) (int, error) { return n, workflow.Sleep(ctx, "nap", time.Hour) })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 7)
	kit.Must(t, err)
	kit.Until(t, "the run is parked", func() bool { return b.get(handle.RunID()).Status == workflow.RunSuspended })
	kit.WantIs(t, b.svc.SetStepResult(t.Context(), handle.RunID(), "nap", 1), workflow.ErrStepFinished)
	tx := kit.Begin(t, b.db)
	kit.WantIs(t, b.svc.In(tx).SetStepResult(t.Context(), handle.RunID(), "nap", 1), workflow.ErrStepFinished)
	kit.WantIs(t, b.svc.In(tx).SetStepError(t.Context(), handle.RunID(), "nap", errors.New("x")), workflow.ErrStepFinished)
	kit.One[int](t, tx, "SELECT 1") // still usable
}

func TestDefineWithoutAFunction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	defer func() {
		if recover() == nil {
			t.Error("registering a workflow without a function did not panic")
		}
	}()
	b.svc.Register(workflow.Define[int, int]("nothing", nil))
}

// An error says its room once, and counts in English.
func TestErrorsReadWell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.SetMaxOpenConns(1)
	err := b.svc.Work(t.Context())
	if err == nil || strings.Contains(err.Error(), "1 connections") || strings.Count(err.Error(), "workflow:") != 1 {
		t.Errorf("a pool that is too small: %v", err)
	}
	b.db.SetMaxOpenConns(0)
	kit.Exec(t, b.db, "DROP SCHEMA workflows CASCADE")
	ended := kit.Go(t, func() error { return b.svc.Work(kit.Context(t)) })
	if err := kit.Receive(t, "the end of Work", ended); err == nil || strings.Count(err.Error(), "workflow:") != 1 {
		t.Errorf("without tables: %v", err)
	}
}

// A run that is started in a workflow's function would be started again by each replay: it belongs in a step.
func TestStartInAWorkflowsFunction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(child)
	_, _, err := run(b, "parent", func(ctx context.Context, n int) (string, error) {
		if handle, err := child.Start(ctx, b.svc, n); err == nil {
			t.Errorf("outside a step run %s was started, want it refused", handle.RunID())
		} else if !errors.Is(err, workflow.ErrStartOutsideStep) {
			t.Errorf("outside a step: %v, want %v", err, workflow.ErrStartOutsideStep)
		}
		return workflow.Do(ctx, "start", func(ctx context.Context) (string, error) {
			handle, err := child.Start(ctx, b.svc, n, workflow.WithRunID(workflow.IdempotencyKey(ctx)))
			if err != nil {
				return "", err
			}
			return handle.RunID(), nil
		})
	})
	if err != nil {
		t.Errorf("in a step: %v", err)
	}
}
