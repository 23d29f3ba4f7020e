package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// patient is a workflow whose only step takes longer than a process lives that has poison in it.
func patient() *workflow.Workflow[int, int] {
	return workflow.Define("patient", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "long", func(ctx context.Context) (int, error) {
			kit.Pause(ctx, 2*time.Second)
			return n, ctx.Err()
		})
	})
}

// A run that kills its processes is found out; those that die beside it, again and again and without getting anywhere, are
// not taken for it.
func TestInnocentsBesideARunThatKillsItsWorkers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	spare := f.service(f.db, nil) // it takes over, and knows neither workflow
	spare.Register(workflow.Define("other", func(_ context.Context, n int) (int, error) { return n, nil }))
	kit.Work(t, spare)
	var innocents []*workflow.Handle[int]
	for n := range 5 {
		handle, err := patient().Start(t.Context(), spare, n)
		kit.Must(t, err)
		innocents = append(innocents, handle)
	}
	poison, err := doom(survives).Start(t.Context(), spare, 7)
	kit.Must(t, err)
	status := func() workflow.Run {
		run, err := spare.GetRun(t.Context(), poison.RunID())
		kit.Must(t, err)
		return run
	}
	deaths := 0
	for status().Status != workflow.RunFailed && deaths < 30 {
		p := f.spawn(job{Does: "doom beside others", Lease: kit.Patience})
		p.Says("inside")
		p.Kill()
		deaths++
		f.exec(endLeases)
		kit.Until(t, "the run is taken over", func() bool { return status().Owner == "" })
	}
	if run := status(); !errors.Is(run.Err, &workflow.Error{Code: "crash_loop"}) || deaths != 10 {
		t.Errorf("after %d deaths: %s, %v; want crash_loop after 10", deaths, run.Status, run.Err)
	}
	f.spawn(job{Does: "doom beside others", Lease: kit.Patience})
	for n, handle := range innocents {
		if got, err := handle.Result(kit.Context(t)); err != nil || got != n {
			t.Errorf("innocent %d: %d, %v\n\t%s", n, got, err, f.story(handle.RunID()))
		}
	}
}

// Many runs that kill their processes do not bring down those that do not.
func TestManyRunsThatKillTheirWorkers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	spare := f.service(f.db, nil)
	spare.Register(workflow.Define("other", func(_ context.Context, n int) (int, error) { return n, nil }))
	kit.Work(t, spare)
	const poisons = 3
	for n := range poisons {
		_, err := doom(survives).Start(t.Context(), spare, n)
		kit.Must(t, err)
	}
	var innocents []*workflow.Handle[int]
	for n := range 3 {
		handle, err := patient().Start(t.Context(), spare, n)
		kit.Must(t, err)
		innocents = append(innocents, handle)
	}
	left := func() int {
		return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'doom' AND status <> 'failed'")
	}
	for deaths := 0; left() > 0; deaths++ {
		if deaths > 60 {
			t.Fatalf("%d of %d are still at it after %d deaths", left(), poisons, deaths)
		}
		p := f.spawn(job{Does: "doom beside others", Lease: kit.Patience})
		p.Says("inside")
		p.Kill()
		f.exec(endLeases)
		kit.Until(t, "its runs are taken over", func() bool {
			return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE owner IS NOT NULL") == 0
		})
	}
	f.spawn(job{Does: "doom beside others", Lease: kit.Patience})
	for n, handle := range innocents {
		if got, err := handle.Result(kit.Context(t)); err != nil || got != n {
			t.Errorf("innocent %d: %d, %v\n\t%s", n, got, err, f.story(handle.RunID()))
		}
	}
	if codes := fmt.Sprint(f.lines("SELECT DISTINCT error ->> 'code' FROM workflows.workflow_runs WHERE status = 'failed'")); codes != "[crash_loop]" {
		t.Errorf("failed with codes %s", codes)
	}
}
