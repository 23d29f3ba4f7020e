package workflow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// largeOf is a text of 256 KB that tells which step it is of.
func largeOf(i int) string { return strings.Repeat(fmt.Sprintf("step %d, ", i), (256<<10)/8) }

// A large result is copied a few times on its way, and is not kept: memory is bounded by what is in flight. It is not parallel, as
// the whole process is counted.
func TestLargeResultsAreNotKept(t *testing.T) { //nolint:paralleltest // see above
	b := setup(t)
	const steps = 40
	var first, last runtime.MemStats
	w := workflow.Define("large", func(ctx context.Context, _ int) (int, error) {
		sum := 0
		for i := range steps {
			got, err := workflow.Do(ctx, "step", func(context.Context) (string, error) { return largeOf(i % 10), nil })
			if err != nil || got != largeOf(i%10) {
				return 0, fmt.Errorf("step %d has %d bytes, %w", i, len(got), err)
			}
			sum += len(got)
			if i == 3 { // the driver's buffers are there
				runtime.GC()
				runtime.GC() // pools let go of what they have at the second
				runtime.ReadMemStats(&first)
			}
		}
		runtime.GC()
		runtime.GC() // pools let go of what they have at the second
		runtime.ReadMemStats(&last)
		return sum, nil
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	sum, err := handle.Result(kit.Context(t))
	kit.Must(t, err)
	kept := int(last.HeapAlloc) - int(first.HeapAlloc)
	allocated := int(last.TotalAlloc-first.TotalAlloc) / (steps - 4)
	t.Logf("%d kB kept after %d kB of results, %d kB allocated for each", kept>>10, sum>>10, allocated>>10)
	if allocated > 1600<<10 { // here twice, its JSON once, and twice in the driver
		t.Errorf("%d kB are allocated for a result of 256 kB", allocated>>10)
	}
	if kept > 2<<20 {
		t.Errorf("%d kB are kept after %d kB of results", kept>>10, sum>>10)
	}
}

// A large result that is no longer in memory is read when the function is called again in the same process, and its step is not
// executed again.
func TestLargeResultIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls, large atomic.Int32
	w := workflow.Define("again with a large result", func(ctx context.Context, _ int) (bool, error) {
		calls.Add(1)
		got, err := workflow.Do(ctx, "large", func(context.Context) (string, error) {
			large.Add(1)
			return largeOf(1), nil
		})
		if err != nil {
			return false, noted(t, err)
		}
		_, err = workflow.Do(ctx, "exit", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) == 1 {
				runtime.Goexit()
			}
			return 1, nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: 1}))
		return got == largeOf(1), err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	same, err := handle.Result(kit.Context(t))
	if err != nil || !same || calls.Load() < 2 || large.Load() != 1 {
		t.Errorf("the same: %t, %v; the function was called %d times, its large step %d; want the same, twice, once",
			same, err, calls.Load(), large.Load())
	}
}

// Branches that have had large results have the same ones when the function is called again, whatever kind of step made them, and so does
// another worker.
func TestLargeResultsOfBranchesAreReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const branches = 4
	var made [branches]atomic.Int32
	var calls atomic.Int32
	w := workflow.Define("branches with large results", func(ctx context.Context, _ int) (int, error) {
		calls.Add(1)
		errs := kit.Together(branches, func(i int) error {
			ctx := workflow.Branch(ctx, fmt.Sprint("branch ", i))
			large := func() string { made[i].Add(1); return largeOf(i) }
			var got string
			var err error
			switch i {
			case 0:
				got, err = workflow.DoTx(ctx, "large", func(context.Context, *sql.Tx) (string, error) { return large(), nil })
			case 1:
				var raw json.RawMessage
				raw, err = workflow.Do(ctx, "large", func(context.Context) (json.RawMessage, error) {
					return json.RawMessage(`[ "` + large() + `"]`), nil
				})
				got = strings.TrimSuffix(strings.TrimPrefix(string(raw), `["`), `"]`) // as JSONB has it
			default:
				got, err = workflow.Do(ctx, "large", func(context.Context) (string, error) { return large(), nil })
			}
			if err == nil && got != largeOf(i) {
				err = fmt.Errorf("branch %d has %d bytes that are not its own", i, len(got))
			}
			return err
		})
		if err := errors.Join(errs...); err != nil {
			return 0, noted(t, err)
		}
		if _, err := workflow.Do(ctx, "exit", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) == 1 {
				runtime.Goexit()
			}
			return 1, nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: 1})); err != nil {
			return 0, err
		}
		return branches, workflow.Sleep(ctx, "until another claim", 300*time.Millisecond)
	})
	svc := b.service(parking)
	svc.Register(w)
	kit.Work(t, svc)
	handle, err := w.Start(t.Context(), svc, 0)
	kit.Must(t, err)
	_, err = handle.Result(kit.Context(t))
	kit.Must(t, err)
	for i := range made {
		if n := made[i].Load(); n != 1 {
			t.Errorf("the large step of branch %d was executed %d times", i, n)
		}
	}
	if n := calls.Load(); n < 3 {
		t.Errorf("the function was called %d times, want it again in its place, and again after a park", n)
	}
}

// noted has the test fail for an error of a step with a large result: the run itself would be blocked by it, and healed by another claim.
func noted(t *testing.T, err error) error {
	t.Helper()
	if !errors.Is(err, workflow.ErrInterrupted) {
		t.Error(err)
	}
	return err
}
