package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// One step of a branch is in flight at a time: goroutines that share a branch would be numbered by chance.
func TestGoroutinesNeedBranches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	for name, second := range map[string]func(context.Context, *atomic.Int32) error{
		"the same name": func(ctx context.Context, called *atomic.Int32) error {
			_, err := workflow.Do(ctx, "first", func(context.Context) (int, error) { called.Add(1); return 1, nil })
			return err
		},
		"another name": func(ctx context.Context, called *atomic.Int32) error {
			_, err := workflow.Do(ctx, "second", func(context.Context) (int, error) { called.Add(1); return 1, nil })
			return err
		},
		"a transactional step": func(ctx context.Context, called *atomic.Int32) error {
			_, err := workflow.DoTx(ctx, "second", func(context.Context, *sql.Tx) (int, error) { called.Add(1); return 1, nil })
			return err
		},
		"a sleep": func(ctx context.Context, _ *atomic.Int32) error {
			return workflow.Sleep(ctx, "second", time.Millisecond)
		},
	} {
		for where, in := range map[string]func(context.Context) context.Context{
			"":              func(ctx context.Context) context.Context { return ctx },
			" in a branch":  func(ctx context.Context) context.Context { return workflow.Branch(ctx, "shared") },
			" with a cause": func(ctx context.Context) context.Context { return context.WithValue(ctx, testKey{}, 1) },
		} {
			t.Run(name+where, func(t *testing.T) {
				var called atomic.Int32
				_, _, _ = run(b.with(t), name+where, func(ctx context.Context, _ int) (int, error) {
					inside, release := make(chan struct{}), make(chan struct{})
					var first sync.WaitGroup
					first.Go(func() {
						_, _ = workflow.Do(in(ctx), "first", func(context.Context) (int, error) {
							close(inside)
							<-release
							return 1, nil
						})
					})
					<-inside
					err := second(in(ctx), &called)
					close(release)
					first.Wait()
					if !errors.Is(err, workflow.ErrBranchBusy) {
						t.Errorf("the second of two: %v, want ErrBranchBusy", err)
					}
					return 0, err
				})
				if called.Load() != 0 {
					t.Error("the second step was executed")
				}
			})
		}
	}
}

type testKey struct{}

// Goroutines with a branch each, and those that follow each other, are fine.
func TestGoroutinesThatDoNotShare(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	_, got, err := run(b, "apart", func(ctx context.Context, n int) (int, error) {
		var sum atomic.Int64
		var all, turn sync.WaitGroup
		together := make(chan struct{}, n)
		for i := range n {
			all.Go(func() {
				v, err := workflow.Do(workflow.Branch(ctx, string(rune('a'+i))), "s", func(ctx context.Context) (int, error) {
					together <- struct{}{}
					for len(together) < n { // all are in flight at once
						kit.Pause(ctx, time.Millisecond)
					}
					return 1, ctx.Err()
				})
				if err == nil {
					sum.Add(int64(v))
				}
			})
		}
		all.Wait()
		for range 3 {
			turn.Go(func() {
				if v, err := workflow.Do(ctx, "in turn", value(10)); err == nil {
					sum.Add(int64(v))
				}
			})
			turn.Wait()
		}
		return int(sum.Load()), nil
	})
	if err != nil || got != 37 {
		t.Errorf("result %d, %v; want 37", got, err)
	}
}
