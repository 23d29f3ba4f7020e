package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// helper doubles its input, and fails for some.
func helper() *workflow.Workflow[int, int] {
	return workflow.Define("helper", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "double", func(context.Context) (int, error) {
			if n%10 == 3 {
				return 0, workflow.Final(&workflow.Error{Code: "three", Message: "ends with 3"})
			}
			return 2 * n, nil
		})
	})
}

// family calls n helpers from each of two branches, and returns how many failed and the sum of what the others returned.
func family() *workflow.Workflow[int, [2]int] {
	return workflow.Define("family", func(ctx context.Context, n int) ([2]int, error) {
		sides, err := workflow.Parallel(ctx, "side", []int{0, 1}, func(ctx context.Context, _ int) ([2]int, error) {
			inputs := make([]int, n)
			for i := range inputs {
				inputs[i] = i
			}
			results, err := workflow.CallAll(ctx, "helpers", helper(), inputs)
			if err != nil {
				return [2]int{}, err
			}
			var failed, sum int
			for i, result := range results {
				switch {
				case errors.Is(result.Err, workflow.Code("three")) && i%10 == 3:
					failed++
				case result.Err != nil || result.Value != 2*i:
					return [2]int{}, workflow.Final(fmt.Errorf("helper %d: %d, %v", i, result.Value, result.Err))
				default:
					sum += result.Value
				}
			}
			return [2]int{failed, sum}, nil
		})
		if err != nil {
			return [2]int{}, err
		}
		return [2]int{sides[0][0] + sides[1][0], sides[0][1] + sides[1][1]}, nil
	})
}

// Runs call many others from two branches, beside trees that are cancelled, while worker processes are killed: each family gets the
// results of all its helpers, the trees are cancelled whole, nothing deadlocks, and nobody is left waiting.
func TestKilledProcessesLoseNoChild(t *testing.T) {
	t.Parallel()
	families, helpers := sized(3, 5, 5), sized(20, 50, 500)
	f := setup(t)
	svc := f.service(f.db, nil)
	w := family() // executed elsewhere
	var kept, cancelled []*workflow.Handle[[2]int]
	for n := range 2 * families {
		handle, err := w.Start(t.Context(), svc, helpers, workflow.WithRunID(runID(n)))
		kit.Must(t, err)
		if n%2 == 0 {
			kept = append(kept, handle)
		} else {
			cancelled = append(cancelled, handle)
		}
	}

	var over atomic.Bool
	var killing sync.WaitGroup
	killed := 0
	processes := []*process{f.spawn(job{Does: "family"}), f.spawn(job{Does: "family"})}
	killing.Go(func() {
		for ; !over.Load(); killed++ {
			kit.Pause(t.Context(), 300*time.Millisecond+rand.N(400*time.Millisecond))
			i := rand.N(len(processes))
			processes[i].Kill()
			processes[i] = f.spawn(job{Does: "family"})
		}
	})
	for _, handle := range cancelled {
		kit.Pause(t.Context(), rand.N(300*time.Millisecond))
		if err := handle.Cancel(t.Context()); err != nil && !errors.As(err, new(*workflow.TransitionError)) { // it may have completed
			t.Error(err)
		}
	}
	kit.Pause(t.Context(), 2*time.Second)
	over.Store(true)
	killing.Wait()

	want := [2]int{2 * ((helpers + 6) / 10), 0}
	for i := range helpers {
		if i%10 != 3 {
			want[1] += 2 * 2 * i
		}
	}
	ctx := kit.Context(t)
	for n, handle := range kept {
		if got, err := handle.Result(ctx); err != nil || got != want {
			t.Errorf("family %d: %v, %v; want %v", n, got, err, want)
		}
	}
	kit.Until(t, "no member of a cancelled family goes on", func() bool {
		return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status IN ('pending', 'running', 'suspended')") == 0
	})
	for _, p := range processes {
		p.Terminate()
	}
	t.Logf("%d families of %d, %d processes killed, %d runs cancelled", families, 2*helpers, killed,
		f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'cancelled'"))
	if n := f.count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); n > 0 {
		t.Errorf("%d deadlocks", n)
	}
	f.verify()
}
