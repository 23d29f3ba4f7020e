package fleet_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Worker processes are killed at random under load and replaced: every run ends with the right result, and nothing was
// done twice beyond what is promised.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	runs, ends := f.underLoad(5*time.Second, job{Does: "journey"}, (*process).Kill)
	if taken := f.count("SELECT count(*) FROM history WHERE step IS NULL AND was = 'running' AND is_now = 'pending'"); taken == 0 {
		t.Error("no run was taken over: the test shows nothing")
	} else {
		t.Logf("%d runs, %d processes killed, %d take-overs, %d effects of plain steps repeated", runs, ends, taken, f.count(`
			SELECT count(*) FROM (SELECT FROM effects WHERE kind = 'plain' GROUP BY run_id, step, attempt HAVING count(*) > 1) AS repeated`))
	}
	f.verify()
}

// Worker processes are told to stop at random under load and replaced: steps in flight finish, runs go on elsewhere at
// once, and no step is done twice or has an attempt too many.
func TestDrainedProcessesRepeatNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	runs, ends := f.underLoad(4*time.Second, job{Does: "journey", Lease: 10 * time.Second}, (*process).Terminate)
	back := f.count("SELECT count(*) FROM history WHERE step IS NULL AND was = 'running' AND is_now = 'pending'")
	if back == 0 {
		t.Error("no run was handed back: the test shows nothing")
	}
	t.Logf("%d runs, %d processes stopped, %d runs handed back", runs, ends, back)
	f.verify()
	if waited := f.lines("SELECT id FROM workflows.workflow_runs WHERE take_overs > 0"); len(waited) > 0 {
		t.Errorf("%d runs were not handed back, but waited for the end of a lease: %s\n\t%s", len(waited), waited[0], f.story(waited[0]))
	}
	if twice := f.lines(`SELECT run_id || ' ' || step || ': ' || count(*) FROM effects GROUP BY run_id, step, attempt HAVING count(*) > 1`); len(twice) > 0 {
		t.Errorf("%d steps were executed twice: %s\n\t%s", len(twice), twice[0], f.story(twice[0][:36]))
	}
	if failed := f.lines(`
		SELECT run_id || ' ' || step_name || ': ' || (attempts -> 'failures')::text FROM workflows.workflow_steps
		WHERE jsonb_array_length(attempts -> 'failures') > CASE WHEN step_name IN ('flaky', 'flaky tx', 'slow retry') THEN 1 ELSE 0 END`); len(failed) > 0 {
		t.Errorf("%d steps have failed attempts that are not their own: %s", len(failed), failed[0])
	}
}

// underLoad starts runs for d (twice as long in full mode, twelve times in the soak size) while three processes work, of
// which one after the other is ended and replaced. It waits for all runs and returns how many there were, and how many
// processes were ended.
func (f *fleet) underLoad(d time.Duration, j job, end func(*process)) (runs, ends int) {
	f.t.Helper()
	d *= time.Duration(sized(1, 2, 12))
	processes := make([]*process, 3)
	for i := range processes {
		processes[i] = f.spawn(j)
	}
	svc := f.service(f.db, nil)
	w := journey(nil) // executed elsewhere
	var handles []*workflow.Handle[int]
	var starting sync.WaitGroup
	stop := time.Now().Add(d)
	starting.Go(func() {
		for n := 0; time.Now().Before(stop); n++ {
			handle, err := w.Start(f.t.Context(), svc, n, workflow.WithRunID(runID(n)))
			if err != nil {
				f.t.Error(err)
				return
			}
			handles = append(handles, handle)
			kit.Pause(f.t.Context(), rand.N(50*time.Millisecond))
		}
	})
	for time.Now().Before(stop) {
		kit.Pause(f.t.Context(), 100*time.Millisecond+rand.N(400*time.Millisecond))
		i := rand.N(len(processes))
		end(processes[i])
		processes[i] = f.spawn(j)
		ends++
	}
	starting.Wait()
	f.results(handles)
	for _, p := range processes {
		p.Terminate()
	}
	return len(handles), ends
}

// results waits for journeys, the nth of which was started with n.
func (f *fleet) results(handles []*workflow.Handle[int]) {
	f.t.Helper()
	ctx := kit.Context(f.t)
	for n, handle := range handles {
		if got, err := handle.Result(ctx); err != nil || got != journeyTakes(n) {
			f.t.Fatalf("run %d: %d, %v; want %d\n\t%s", n, got, err, journeyTakes(n), f.story(handle.RunID()))
		}
	}
	if left := f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status <> 'completed'"); left > 0 {
		f.t.Errorf("%d runs are not completed", left)
	}
}
