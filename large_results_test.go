package workflow_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

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
	if allocated > 4<<20 {
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
			return false, err
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
