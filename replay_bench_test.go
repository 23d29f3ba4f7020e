package workflow_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

const replayedSteps = 5000

// replaying is a run whose steps are recorded: it waits for a signal, is claimed and called again, and tells how long its function took to
// get back to where it was.
func replaying(calls chan<- time.Duration) *workflow.Workflow[int, int] {
	return workflow.Define("replayed", func(ctx context.Context, turns int) (int, error) {
		began := time.Now()
		for n := range replayedSteps {
			if _, err := workflow.Do(ctx, "step "+strconv.Itoa(n), func(context.Context) (int, error) { return n, nil }); err != nil {
				return 0, err
			}
		}
		calls <- time.Since(began)
		for turn := range turns {
			if _, err := again.Wait(ctx, time.Hour); err != nil {
				return turn, err
			}
		}
		return turns, nil
	})
}

var again = workflow.DefineSignal[int]("again")

// replays has a run replay its steps so many times, each time from its rows, and tells what each took of the function's time and of
// allocations of the process, the load from the database included.
func replays(t testing.TB, turns int) (took time.Duration, allocations, bytes uint64) {
	t.Helper()
	db := pgtest.New(t).Open(t, pgtest.PGX)
	db.SetMaxIdleConns(4)
	svc, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	defer func() { kit.Must(t, svc.Close()) }()
	calls := make(chan time.Duration, 2)
	w := replaying(calls)
	svc.Register(w)
	defer kit.Work(t, svc)()
	handle, err := w.Start(t.Context(), svc, turns)
	kit.Must(t, err)
	kit.Receive(t, "the first call", calls)
	parked := func() bool {
		run, err := svc.GetRun(t.Context(), handle.RunID())
		kit.Must(t, err)
		return run.Status == workflow.RunSuspended
	}
	kit.Until(t, "the run is parked", parked)
	for turn := range turns {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		kit.Must(t, again.Send(t.Context(), svc, handle.RunID(), turn))
		took += kit.Receive(t, "the next call", calls)
		runtime.ReadMemStats(&after)
		allocations, bytes = allocations+after.Mallocs-before.Mallocs, bytes+after.TotalAlloc-before.TotalAlloc
		if turn < turns-1 {
			kit.Until(t, "the run is parked again", parked)
		}
	}
	n := uint64(turns) //nolint:gosec // a few
	return took / time.Duration(turns), allocations / n, bytes / n
}

// BenchmarkReplay is a run of 5,000 recorded steps that is loaded and called again: the time of its function alone.
func BenchmarkReplay(b *testing.B) {
	turns := max(b.N, 1)
	took, allocations, bytes := replays(b, turns)
	b.ReportMetric(float64(took.Microseconds())/1000, "replay-ms")
	b.ReportMetric(float64(allocations)/replayedSteps, "allocs/step")
	b.ReportMetric(float64(bytes)/replayedSteps, "B/step")
}

// A recorded step costs its replay so many allocations and no more, with its part of the load. It is not parallel, as the whole process is
// counted.
func TestAllocationsOfAReplay(t *testing.T) { //nolint:paralleltest // see above
	took, allocations, bytes := replays(t, 3)
	perStep, bytesPerStep := float64(allocations)/replayedSteps, float64(bytes)/replayedSteps
	t.Logf("%d steps: %s, %.1f allocations and %.0f bytes a step", replayedSteps, took, perStep, bytesPerStep)
	if perStep > 22 || bytesPerStep > 5300 {
		t.Errorf("%.1f allocations and %.0f bytes for each step that is replayed, want at most 22 and 5,300", perStep, bytesPerStep)
	}
}
