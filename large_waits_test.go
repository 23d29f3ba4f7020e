package workflow_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

var documents = workflow.DefineSignal[string]("document")

// documentOf is what a child has as its output.
var documentOf = workflow.Define("document", func(_ context.Context, i int) (string, error) { return largeOf(i), nil })

// largeWaits are the ways in which a run gets a text that others made.
var largeWaits = map[string]func(ctx context.Context, svc *workflow.Service, i int) (string, error){
	"signal": func(ctx context.Context, svc *workflow.Service, i int) (string, error) {
		if err := sendDocument(ctx, svc, i); err != nil {
			return "", err
		}
		return documents.Wait(ctx, time.Hour)
	},
	"poll": func(ctx context.Context, svc *workflow.Service, i int) (string, error) {
		if err := sendDocument(ctx, svc, i); err != nil {
			return "", err
		}
		text, found, err := documents.Poll(ctx)
		if err == nil && !found {
			err = fmt.Errorf("signal %d is not there", i)
		}
		return text, err
	},
	"child": func(ctx context.Context, _ *workflow.Service, i int) (string, error) {
		return workflow.Call(ctx, "child", documentOf, i)
	},
	"children": func(ctx context.Context, _ *workflow.Service, i int) (string, error) {
		results, err := workflow.CallAll(ctx, "children", documentOf, []int{i})
		if err != nil {
			return "", err
		}
		return results[0].Value, results[0].Err
	},
}

func sendDocument(ctx context.Context, svc *workflow.Service, i int) error {
	_, err := workflow.Do(ctx, "send", func(ctx context.Context) (int, error) {
		return i, documents.Send(ctx, svc, workflow.RunID(ctx), largeOf(i), workflow.WithKey(workflow.IdempotencyKey(ctx)))
	})
	return err
}

// What others made for a run is not kept in its memory when the function has got it: neither the first time, nor in a replay, which
// loads it all. The function gets the same when it is called again in its place. It is not parallel, as the whole process is counted.
func TestLargeResultsOfWaitsAreNotKept(t *testing.T) { //nolint:paralleltest // see above
	for name, get := range largeWaits {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // see above
			b := setup(t)
			const steps = 16
			var calls atomic.Int32
			var kept [2]int // after the first call, and after a replay of another claim
			svc := b.service(parking)
			heap := func() int {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC() // pools let go of what they have at the second
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc)
			}
			getAll := func(ctx context.Context) (grown int, err error) {
				first := 0
				for i := range steps {
					if got, err := get(ctx, svc, i%10); err != nil || got != largeOf(i%10) {
						return 0, fmt.Errorf("step %d has %d bytes, %w", i, len(got), err)
					}
					if i == 2 {
						first = heap()
					}
				}
				return heap() - first, nil
			}
			w := workflow.Define("waits "+name, func(ctx context.Context, _ int) (int, error) {
				n := calls.Add(1)
				grown, err := getAll(ctx)
				if err != nil {
					return 0, noted(t, err)
				}
				if n == 1 {
					kept[0] = grown
				}
				if _, err := workflow.Do(ctx, "exit", func(ctx context.Context) (int, error) {
					if workflow.Attempt(ctx) == 1 {
						runtime.Goexit()
					}
					return 1, nil
				}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: 1})); err != nil {
					return 0, err
				}
				if err := workflow.Sleep(ctx, "until another claim", 300*time.Millisecond); err != nil {
					return 0, err
				}
				kept[1] = heap()
				return steps, nil
			})
			svc.Register(w, documentOf)
			kit.Work(t, svc)
			before := heap()
			handle, err := w.Start(t.Context(), svc, 0)
			kit.Must(t, err)
			_, err = handle.Result(kit.Context(t))
			kit.Must(t, err)
			kept[1] -= before
			t.Logf("%d kB kept after %d kB, and %d kB after a replay, in %d calls", kept[0]>>10, steps*256, kept[1]>>10, calls.Load())
			if n := calls.Load(); n < 3 {
				t.Errorf("the function was called %d times, want it again in its place, and again after a park", n)
			}
			for i, when := range []string{"first time", "replay"} {
				if kept[i] > 2<<20 {
					t.Errorf("%s: %d kB are kept after %d kB of results", when, kept[i]>>10, steps*256)
				}
			}
		})
	}
}
