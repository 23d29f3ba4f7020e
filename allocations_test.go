package workflow_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A run of ten steps costs this process so many allocations and no more, driver and its share of batches included. It is not
// parallel, as the whole process is counted; the bounds leave room for batches that a busy machine makes small, and for the
// race detector.
func TestAllocationsOfARun(t *testing.T) { //nolint:paralleltest // see above
	result := strings.Repeat("x", 100)
	tenSteps := workflow.Define("ten steps", func(ctx context.Context, _ int) (int, error) {
		for range 10 {
			if _, err := workflow.Do(ctx, "step", func(context.Context) (string, error) { return result, nil }); err != nil {
				return 0, err
			}
		}
		return 10, nil
	})
	const concurrent, each = 32, 20
	db := pgtest.New(t).Open(t, pgtest.PGX)
	db.SetMaxIdleConns(16)
	svc, err := workflow.New(workflow.Config{DB: db, Concurrency: 2 * concurrent})
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	svc.Register(tenSteps)
	kit.Work(t, svc)

	runAll := func(each int) {
		var all sync.WaitGroup
		for range concurrent {
			all.Go(func() {
				for range each {
					handle, err := tenSteps.Start(t.Context(), svc, 1)
					if err == nil {
						_, err = handle.Result(t.Context())
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
	runAll(2) // statements are prepared, memory is there
	var allocations, bytes uint64
	for range 5 { // on a busy machine fewer rows go together
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		runAll(each)
		runtime.ReadMemStats(&after)
		const runs = concurrent * each
		allocations, bytes = (after.Mallocs-before.Mallocs)/runs, (after.TotalAlloc-before.TotalAlloc)/runs
		if t.Logf("%d allocations and %d bytes a run", allocations, bytes); allocations <= 190 && bytes <= 32<<10 {
			return
		}
	}
	t.Errorf("%d allocations and %d bytes a run of ten steps, want at most 190 and 32 kB", allocations, bytes)
}
