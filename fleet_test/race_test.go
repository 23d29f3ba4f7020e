package fleet_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Cancel and Resume hit runs from several sides, at moments when they are claimed, executed, parked, woken and finished by
// workers in several processes. In the end each run completes, with the right result.
func TestRacesOverARun(t *testing.T) {
	t.Parallel()
	f := setup(t)
	processes := []*process{f.spawn(job{Does: "journey"}), f.spawn(job{Does: "journey"})}
	here := f.service(f.db, nil)
	here.Register(journey(f.db))
	kit.Work(t, here)
	elsewhere := f.service(f.db, nil)
	sides := []*workflow.Service{here, elsewhere}
	runs := sized(60, 150, 600)
	cancels := f.raceAll(runs, func(n int) int { return f.race(sides, n) })
	if cancels < runs {
		t.Errorf("only %d cancels of %d runs: the test shows little", cancels, runs)
	}
	f.verify()
	if left := f.lines("SELECT id || ' ' || status FROM workflows.workflow_runs WHERE status <> 'completed'"); len(left) > 0 {
		t.Errorf("%d runs are not completed: %s\n\t%s", len(left), left[0], f.story(left[0][:36]))
	}
	t.Logf("%d cancels of %d runs, seen by status: %v", cancels, runs,
		f.lines("SELECT was || ' ' || count(*) FROM history WHERE step IS NULL AND is_now = 'cancelled' GROUP BY was"))
	for _, p := range processes {
		p.Terminate()
	}
}

// raceAll calls race for each n, ten at a time, and returns the sum of what it returns.
func (f *fleet) raceAll(runs int, race func(n int) int) (sum int) {
	numbers := make(chan int, runs)
	for n := range runs {
		numbers <- n
	}
	close(numbers)
	var racing sync.WaitGroup
	var mu sync.Mutex
	for range 10 {
		racing.Go(func() {
			for n := range numbers {
				got := race(n)
				mu.Lock()
				sum += got
				mu.Unlock()
			}
		})
	}
	racing.Wait()
	return sum
}

// Cancel hits runs that are about to end. What it says is what is: cancelled for good, or completed.
func TestRacesWithTheEndOfARun(t *testing.T) {
	t.Parallel()
	f := setup(t)
	dash := workflow.Define("dash", func(ctx context.Context, n int) (int, error) {
		kit.Pause(context.Background(), rand.N(20*time.Millisecond)) // and looks at no context
		return n, nil
	})
	worker, elsewhere := f.service(f.db, nil), f.service(f.db, nil)
	worker.Register(dash)
	kit.Work(t, worker)
	runs := sized(200, 800, 5_000)
	cancels := f.raceAll(runs, func(n int) int {
		ctx := kit.Context(t)
		handle, err := dash.Start(ctx, worker, n)
		if err != nil {
			t.Error(err)
			return 0
		}
		kit.Pause(ctx, rand.N(25*time.Millisecond))
		cancelled := elsewhere.Cancel(ctx, handle.RunID())
		kit.Pause(ctx, 20*time.Millisecond) // the function has returned
		got, err := handle.Result(ctx)
		var late *workflow.TransitionError
		switch {
		case cancelled == nil && errors.Is(err, workflow.ErrRunCancelled):
			return 1
		case errors.As(cancelled, &late) && late.From == workflow.RunCompleted && err == nil && got == n:
		default:
			t.Errorf("Cancel: %v; the run: %d, %v\n\t%s", cancelled, got, err, f.story(handle.RunID()))
		}
		return 0
	})
	if cancels < runs/20 || cancels > runs-runs/20 {
		t.Errorf("%d of %d cancels were in time: the test shows little", cancels, runs)
	}
	f.verify()
}

// race starts a run, cancels and resumes it some times and returns how often a cancel hit it.
func (f *fleet) race(sides []*workflow.Service, n int) (cancels int) {
	f.t.Helper()
	ctx := kit.Within(f.t, 2*kit.Patience)
	handle, err := journey(nil).Start(ctx, sides[n%2], n, workflow.WithRunID(runID(n)))
	if err != nil {
		f.t.Error(err)
		return 0
	}
	id := handle.RunID()
	for range 4 {
		kit.Pause(ctx, rand.N(200*time.Millisecond))
		if !f.hit(func(s *workflow.Service) error { return s.Cancel(ctx, id) }, sides, workflow.RunCompleted, 2) {
			break
		}
		cancels++
		before := f.rowsOf(id)
		kit.Pause(ctx, rand.N(30*time.Millisecond))
		if diff := cmp.Diff(before, f.rowsOf(id)); diff != "" {
			f.t.Errorf("run %s changed after Cancel had returned (-before +after):\n%s\n\t%s", id, diff, f.story(id))
		}
		f.hit(func(s *workflow.Service) error { return s.Resume(ctx, id) }, sides, "", 1)
	}
	if got, err := handle.Result(ctx); err != nil || got != journeyTakes(n) {
		f.t.Errorf("run %s: %d, %v; want %d\n\t%s", id, got, err, journeyTakes(n), f.story(id))
	}
	return cancels
}

// hit calls f from both sides at once and reports whether it succeeded. Of two calls, as many must succeed as can; a refusal
// is a *TransitionError, from a given status if there is one.
func (f *fleet) hit(call func(*workflow.Service) error, sides []*workflow.Service, refusedFrom workflow.RunStatus, can int) bool {
	f.t.Helper()
	var both sync.WaitGroup
	outcomes := make([]error, len(sides))
	for i, side := range sides {
		both.Go(func() { outcomes[i] = call(side) })
	}
	both.Wait()
	succeeded := 0
	for _, err := range outcomes {
		var refused *workflow.TransitionError
		switch {
		case err == nil:
			succeeded++
		case !errors.As(err, &refused) || refusedFrom != "" && refused.From != refusedFrom:
			f.t.Error(err)
		}
	}
	if succeeded != can && (succeeded != 0 || refusedFrom == "") {
		f.t.Errorf("%d of two succeeded, want %d: %v", succeeded, can, outcomes)
	}
	return succeeded > 0
}

// rowsOf returns the rows of a run, its steps and its effects in transactions.
func (f *fleet) rowsOf(id string) []string {
	f.t.Helper()
	return f.lines(`
		SELECT run::text FROM workflows.workflow_runs AS run WHERE id = $1
		UNION ALL SELECT step::text FROM workflows.workflow_steps AS step WHERE run_id = $1
		UNION ALL SELECT effect::text FROM effects AS effect WHERE run_id = $1 AND kind = 'tx'
		ORDER BY 1`, id)
}
