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

func quickly(attempts int) workflow.StepOption {
	return workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: attempts, FirstDelay: 10 * time.Millisecond})
}

// failing fails until the nth attempt.
func failing(n int) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		if attempt := workflow.Attempt(ctx); attempt < n {
			return 0, fmt.Errorf("attempt %d", attempt)
		}
		return n, nil
	}
}

func TestRetryUntilSuccess(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*workflow.Config){"in process": func(*workflow.Config) {}, "parked": parking} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.svc = b.service(change)
			kit.Work(t, b.svc)
			handle, got, err := run(b, "retry", func(ctx context.Context, _ int) (int, error) {
				return workflow.Do(ctx, "s", failing(3), quickly(5))
			})
			if err != nil || got != 3 {
				t.Fatalf("result %d, %v; want 3", got, err)
			}
			step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "s")
			if err != nil || step.Status != workflow.StepSucceeded || step.Err != nil {
				t.Fatalf("step: %+v, %v", step, err)
			}
			if step.Attempts == nil || step.Attempts.Count != 2 || step.Attempts.Policy.MaxAttempts != 5 || len(step.Attempts.Failures) != 2 {
				t.Fatalf("attempts: %+v", step.Attempts)
			}
			for i, failure := range step.Attempts.Failures {
				if want := fmt.Sprintf("attempt %d", i+1); failure.Err.Message != want || failure.At.IsZero() {
					t.Errorf("failure %d: %+v %v", i, failure, failure.Err)
				}
			}
		})
	}
}

func TestRetryUntilExhausted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var calls atomic.Int32
	handle, _, err := run(b, "exhaust", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) {
			return 0, fmt.Errorf("no %d", calls.Add(1))
		}, quickly(3))
	})
	var failed *workflow.RunError
	if !errors.As(err, &failed) || failed.Err.Message != "no 3" || failed.Err.Step != "s" {
		t.Errorf("result %v, want the third failure of step s", err)
	}
	if calls.Load() != 3 {
		t.Errorf("%d attempts, want 3", calls.Load())
	}

	// Resume gives it as many attempts again, and keeps the history.
	if err := b.svc.Resume(t.Context(), handle.RunID()); err != nil {
		t.Fatal(err)
	}
	if _, err := handle.Result(kit.Context(t)); err == nil || !strings.Contains(err.Error(), "no 6") {
		t.Errorf("after Resume: %v, want the sixth failure", err)
	}
	step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "s")
	if err != nil || step.Attempts == nil || step.Attempts.Count != 3 || len(step.Attempts.Failures) != 6 {
		t.Errorf("attempts %+v, %v; want 3 and 6 failures", step.Attempts, err)
	}
}

func TestFinalErrorsAreNotRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var calls atomic.Int32
	_, _, err := run(b, "final", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) {
			calls.Add(1)
			return 0, fmt.Errorf("wrapped: %w", workflow.Final(errors.New("hopeless")))
		})
	})
	if err == nil || calls.Load() != 1 {
		t.Errorf("%v after %d attempts, want an error after one", err, calls.Load())
	}
}

func TestStepTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	_, got, err := run(b, "timeout", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) > 1 {
				return 1, nil
			}
			<-ctx.Done()
			return 0, ctx.Err()
		}, quickly(2), workflow.WithAttemptTimeout(20*time.Millisecond))
	})
	if err != nil || got != 1 {
		t.Errorf("result %d, %v; want the second attempt's", got, err)
	}
}

func TestManyFailuresAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	handle, _, err := run(b, "many", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", failing(31), workflow.WithRetry(workflow.RetryPolicy{
			MaxAttempts: 31, FirstDelay: time.Millisecond, Factor: 1,
		}))
	})
	if err != nil {
		t.Fatal(err)
	}
	step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "s")
	if err != nil || step.Attempts.Count != 30 || len(step.Attempts.Failures) != 20 {
		t.Fatalf("%d attempts, %d kept, %v; want 30 and 20", step.Attempts.Count, len(step.Attempts.Failures), err)
	}
	if last := step.Attempts.Failures[19].Err.Message; last != "attempt 30" {
		t.Errorf("the last one kept is %q, want attempt 30", last)
	}
}

func TestTooManySteps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(func(c *workflow.Config) { c.MaxSteps = 3 })
	kit.Work(t, b.svc)
	_, _, err := run(b, "many steps", func(ctx context.Context, _ int) (int, error) {
		for i := range 4 {
			if _, err := workflow.Do(ctx, "s", value(i)); err != nil {
				if i != 3 || !errors.Is(err, workflow.ErrTooManySteps) {
					t.Errorf("step %d: %v", i, err)
				}
				return 0, err
			}
		}
		return 0, nil
	})
	if err == nil {
		t.Error("a fourth step was taken")
	}
}

func TestBranches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	handle, _, err := run(b, "branches", func(ctx context.Context, _ int) (int, error) {
		for _, key := range []string{"x", "y"} {
			branch := workflow.Branch(ctx, key)
			for range 2 {
				if _, err := workflow.Do(branch, "s", value(key)); err != nil {
					return 0, err
				}
			}
			if _, err := workflow.Do(workflow.Branch(branch, "deep"), "s", value(key)); err != nil {
				return 0, err
			}
		}
		if _, err := workflow.Do(workflow.Branch(ctx, "a/b"), "s", value(1)); !errors.Is(err, workflow.ErrInvalidArgument) {
			t.Errorf("bad branch: %v, want ErrInvalidArgument", err)
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"x/s", "x/s#1", "x/deep/s", "y/s", "y/s#1", "y/deep/s"} {
		step, err := b.svc.GetStepState(t.Context(), handle.RunID(), key)
		if err != nil || step.Status != workflow.StepSucceeded || string(step.Result) != `"`+key[:1]+`"` {
			t.Errorf("step %s: %s %s, %v", key, step.Status, step.Result, err)
		}
	}
}

// Payment providers keep these keys for years.
func TestIdempotencyKeyIsGolden(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("pay", func(ctx context.Context, _ int) (string, error) {
		if key := workflow.IdempotencyKey(ctx); key != "" {
			t.Errorf("outside a step: %q", key)
		}
		return workflow.Do(ctx, "charge", func(ctx context.Context) (string, error) { return workflow.IdempotencyKey(ctx), nil })
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0, workflow.WithRunID("order 17"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := handle.Result(kit.Context(t)); err != nil || got != "6a6f28c2-857d-5ed3-bbe6-028ddb5f1760" {
		t.Errorf("key %q, %v", got, err)
	}
}
