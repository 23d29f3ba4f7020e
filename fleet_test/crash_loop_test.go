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

// doom is a workflow that its worker does not survive, or does.
func doom(die func(context.Context)) *workflow.Workflow[int, int] {
	return workflow.Define("doom", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "die", func(ctx context.Context) (int, error) {
			die(ctx)
			return n, nil
		})
	})
}

func killed(ctx context.Context) {
	fmt.Println("inside")
	<-ctx.Done() // the parent kills this process
}

func survives(context.Context) {}

// A run that kills its workers is not given to an eleventh. Their leases end at once here, to save the waiting.
func TestRunThatKillsItsWorkersFails(t *testing.T) {
	t.Parallel()
	f := setup(t)
	spare := f.service(f.db, nil) // it takes over, and does not know the workflow
	spare.Register(workflow.Define("other", func(_ context.Context, n int) (int, error) { return n, nil }))
	handle, err := doom(survives).Start(t.Context(), spare, 7)
	kit.Must(t, err)
	stop := func() {}
	for death := 1; death <= 10; death++ {
		p := f.spawn(job{Does: "doom", Lease: kit.Patience})
		p.Says("inside")
		p.Kill()
		f.exec(endLeases)
		if death == 1 {
			stop = kit.Work(t, spare)
		}
		kit.Until(t, "the run is taken over", func() bool {
			run, err := spare.GetRun(t.Context(), handle.RunID())
			kit.Must(t, err)
			if run.Status == workflow.RunFailed && death < 10 {
				t.Fatalf("failed after %d deaths", death)
			}
			return run.Owner == ""
		})
	}
	if _, err := handle.Result(kit.Context(t)); !errors.Is(err, &workflow.Error{Code: "crash_loop"}) {
		t.Errorf("after ten deaths: %v, want code crash_loop", err)
	}
	stop()

	// Resume gives it another chance.
	cured := f.service(f.db, nil)
	cured.Register(doom(survives))
	kit.Work(t, cured)
	kit.Must(t, cured.Resume(t.Context(), handle.RunID()))
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
		t.Errorf("resumed: %d, %v", got, err)
	}
}

// A run that gets one step further with each worker that dies goes on.
func TestRunThatGetsOnSurvivesItsWorkers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const deaths = 12
	reached := make(chan struct{}, 1)
	slow := workflow.Define("slow", func(ctx context.Context, _ int) (int, error) {
		for n := range deaths + 1 {
			fresh := false
			if _, err := workflow.Do(ctx, "mark", func(context.Context) (int, error) { fresh = true; return n, nil }); err != nil {
				return 0, err
			}
			if fresh && n < deaths {
				reached <- struct{}{}
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}
		}
		return deaths, nil
	})
	handle, err := slow.Start(t.Context(), f.service(f.db, nil), 0)
	kit.Must(t, err)
	for range deaths {
		dead := f.service(f.db, func(c *workflow.Config) { c.Lease, c.Drain = 2*kit.Patience, 10*time.Millisecond })
		dead.Register(slow)
		kit.Work(t, dead) // it is dead to all others once its lease has ended
		kit.Receive(t, "one more step is recorded", reached)
		f.exec(endLeases)
		spare := f.service(f.db, nil)
		stop := kit.Work(t, spare)
		kit.Until(t, "the run is taken over", func() bool {
			run, err := spare.GetRun(t.Context(), handle.RunID())
			kit.Must(t, err)
			return run.Owner == ""
		})
		stop()
	}
	last := f.service(f.db, nil)
	last.Register(slow)
	kit.Work(t, last)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != deaths {
		t.Errorf("result %d, %v", got, err)
	}
}
