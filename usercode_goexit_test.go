package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

var errGoexit = &workflow.Error{Code: "goexit"}

type goexitError struct{}

func (goexitError) Error() string { runtime.Goexit(); return "" }

type goexitsInMarshal struct{}

func (goexitsInMarshal) MarshalJSON() ([]byte, error) { runtime.Goexit(); return nil, nil }

// one is a service with a single slot, so that a slot that is lost is seen.
func (b *bench) one() *workflow.Service {
	svc := b.service(func(c *workflow.Config) { c.Concurrency = 1 })
	b.svc = svc
	kit.Work(b.t, svc)
	return svc
}

// stillWorks checks that nothing is left of the runs before: no slot taken, no connection, and the next run is executed.
func (b *bench) stillWorks() {
	b.t.Helper()
	kit.Until(b.t, "no run is in flight", func() bool { return inFlight(b.t, b.svc)+hanging(b.t, b.svc) == 0 })
	if _, got, err := run(b, "the next run", func(ctx context.Context, n int) (int, error) {
		return workflow.DoTx(ctx, "s", func(context.Context, *sql.Tx) (int, error) { return n, nil })
	}); err != nil || got != 7 {
		b.t.Errorf("the next run: %d, %v", got, err)
	}
}

// A function that ends its goroutine (t.FailNow does) has failed. Nothing of it stays behind.
func TestGoexitInAFunctionFailsItsRun(t *testing.T) {
	t.Parallel()
	for name, fn := range map[string]func(context.Context, int) (any, error){
		"in the function":    func(context.Context, int) (any, error) { runtime.Goexit(); return 0, nil },
		"in Error":           func(context.Context, int) (any, error) { return 0, goexitError{} },
		"in MarshalJSON":     func(context.Context, int) (any, error) { return goexitsInMarshal{}, nil },
		"in a deferred call": func(context.Context, int) (any, error) { defer runtime.Goexit(); panic("first a panic") },
		"after a step": func(ctx context.Context, _ int) (any, error) {
			if _, err := workflow.Do(ctx, "s", value(1)); err != nil {
				return nil, err
			}
			runtime.Goexit()
			return nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			b.one()
			handle, _, err := run(b, "goexit", fn)
			if !errors.Is(err, errGoexit) {
				t.Errorf("result %v, want code goexit", err)
			}
			if run := b.get(handle.RunID()); run.Status != workflow.RunFailed || run.Owner != "" {
				t.Errorf("the run is %s, owner %q", run.Status, run.Owner)
			}
			b.stillWorks()
		})
	}
}

// goexitUntil ends its goroutine in each attempt before the nth.
func goexitUntil(n int) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		if workflow.Attempt(ctx) < n {
			runtime.Goexit()
		}
		return n, nil
	}
}

// In a step it is a failed attempt. It has unwound the workflow's function too, which is therefore called again.
func TestGoexitInAStepIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	steps := map[string]func(ctx context.Context, until int) (int, error){
		"plain": func(ctx context.Context, until int) (int, error) {
			return workflow.Do(ctx, "s", goexitUntil(until), quickly(2))
		},
		"transactional": func(ctx context.Context, until int) (int, error) {
			return workflow.DoTx(ctx, "s", func(ctx context.Context, tx *sql.Tx) (int, error) {
				if _, err := book("s")(ctx, tx); err != nil {
					return 0, err
				}
				return goexitUntil(until)(ctx)
			}, quickly(2))
		},
		"in MarshalJSON": func(ctx context.Context, until int) (int, error) {
			_, err := workflow.Do(ctx, "s", func(ctx context.Context) (any, error) {
				if workflow.Attempt(ctx) < until {
					return goexitsInMarshal{}, nil
				}
				return 1, nil
			}, quickly(2))
			return until, err
		},
		"in Error": func(ctx context.Context, until int) (int, error) {
			return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
				if workflow.Attempt(ctx) < until {
					return 0, goexitError{}
				}
				return until, nil
			}, quickly(2))
		},
		"in a branch": func(ctx context.Context, until int) (n int, err error) {
			var branches sync.WaitGroup
			branches.Go(func() { n, err = workflow.Do(workflow.Branch(ctx, "b"), "s", goexitUntil(until), quickly(2)) })
			branches.Wait()
			return n, err
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			b.one()
			var calls atomic.Int32
			handle, got, err := run(b, "recovers", func(ctx context.Context, _ int) (int, error) {
				calls.Add(1)
				return step(ctx, 2)
			})
			if err != nil || got != 2 {
				t.Fatalf("result %d, %v; want the second attempt's 2", got, err)
			}
			epoch := kit.One[int32](t, b.db, `SELECT epoch FROM workflows.workflow_runs WHERE id = $1`, handle.RunID())
			if calls.Load() > epoch+1 { // a lease may be lost on a busy machine
				t.Errorf("the function was called %d times in %d claims, want at most once again", calls.Load(), epoch)
			}
			key := map[bool]string{true: "b/s", false: "s"}[name == "in a branch"]
			recorded, err := b.svc.GetStepState(t.Context(), handle.RunID(), key)
			if err != nil || recorded.Attempts == nil || recorded.Attempts.Count != 1 {
				t.Errorf("step %+v, %v; want one failed attempt", recorded, err)
			}
			if effects := b.effects(handle.RunID()); name == "transactional" && len(effects["s"]) != 1 {
				t.Errorf("effects %v, want one", effects)
			}

			_, _, err = run(b, "exhausts", func(ctx context.Context, _ int) (int, error) { return step(ctx, 3) })
			var failed *workflow.Error
			if !errors.As(err, &failed) || !errors.Is(err, errGoexit) || failed.Step != key {
				t.Errorf("after two attempts: %v, want a run that failed in step %q with code goexit", err, key)
			}
			b.stillWorks()
		})
	}
}
