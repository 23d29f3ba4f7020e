package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// changes are those of a deploy that do not fit to what a run has recorded.
var mismatches = map[string]struct {
	old, deployed []stage
	names         string // the step that the error is about
}{
	"renamed":           {[]stage{plain("a"), plain("b")}, []stage{plain("a"), plain("B")}, "B"},
	"renamed the first": {[]stage{plain("a")}, []stage{plain("A")}, "A"},
	"renamed, transactional": {
		[]stage{plain("a"), inTx("b")}, []stage{plain("a"), inTx("B")}, "B"},
	"renamed, a failed one": {[]stage{failed("a"), plain("b")}, []stage{failed("A"), plain("b")}, "A"},
	"renamed, a sleep":      {[]stage{nap("a"), plain("b")}, []stage{nap("A"), plain("b")}, "A"},
	"inserted before all":   {[]stage{plain("a"), plain("b")}, []stage{plain("x"), plain("a"), plain("b")}, "x"},
	"inserted between":      {[]stage{plain("a"), plain("b")}, []stage{plain("a"), inTx("x"), plain("b")}, "x"},
	"inserted a sleep":      {[]stage{plain("a"), plain("b")}, []stage{plain("a"), nap("x"), plain("b"), plain("c")}, "x"},
	"repeated once more":    {[]stage{plain("a"), plain("b")}, []stage{plain("a"), plain("a"), plain("b")}, "a#1"},
	"removed":               {[]stage{plain("a"), plain("b"), plain("c")}, []stage{plain("a"), plain("c")}, "b"},
	"removed the last":      {[]stage{plain("a"), plain("b")}, []stage{plain("a")}, "b"},
	"removed all":           {[]stage{plain("a")}, nil, "a"},
	"removed, and one new": {
		[]stage{plain("a"), plain("b"), plain("c")}, []stage{plain("a"), plain("c"), plain("d")}, "d"},
	"plain made transactional": {[]stage{plain("a")}, []stage{inTx("a"), plain("b")}, "a"},
	"transactional made plain": {[]stage{inTx("a")}, []stage{plain("a"), plain("b")}, "a"},
	"plain made a sleep":       {[]stage{plain("a")}, []stage{nap("a"), plain("b")}, "a"},
	"a sleep made plain":       {[]stage{nap("a")}, []stage{plain("a"), plain("b")}, "a"},
	"reordered, and one new": {
		[]stage{plain("a"), plain("b"), plain("c")}, []stage{plain("c"), plain("x"), plain("a"), plain("b")}, "x"},
	"renamed in a branch":  {in("k", plain("a"), plain("b")), in("k", plain("a"), plain("B")), "k/B"},
	"inserted in a branch": {in("k", plain("a"), plain("b")), in("k", inTx("x"), plain("a"), plain("b")), "k/x"},
	"removed in a branch":  {in("k", plain("a"), plain("b")), in("k", plain("b")), "k/a"},
	"kind in a branch":     {in("k", plain("a")), in("k", inTx("a")), "k/a"},
}

// Code that does not match what a run has recorded is noticed before any effect, whatever it does with the error. The run
// is not failed: it waits, and the code that fits goes on with it.
func TestMismatchBlocksBeforeAnyEffect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var names []string
	var old, wrong, fitting []*release
	for name, change := range mismatches {
		for how, swallows := range map[string]bool{"returned": false, "swallowed": true} {
			name := name + ", " + how
			names = append(names, name)
			old = append(old, b.release(code{workflow: name, release: "old", stages: change.old, holds: true}))
			wrong = append(wrong, b.release(code{workflow: name, release: "new", stages: change.deployed, swallows: swallows}))
			fitting = append(fitting, b.release(code{workflow: name, release: "fits", stages: change.old}))
		}
	}
	handles := b.history(old)
	stop := b.deploy(wrong)
	for i, handle := range handles {
		t.Run(names[i]+", is blocked", func(t *testing.T) {
			run := b.with(t).blocked(handle.RunID())
			change, _, _ := strings.Cut(names[i], ", returned")
			change, _, _ = strings.Cut(change, ", swallowed")
			if step := mismatches[change].names; !errors.Is(run.Err, errMismatch) || !regexp.MustCompile(`\b`+step+`\b`).MatchString(run.Err.Error()) {
				t.Errorf("error %v, want code nondeterministic and step %q named", run.Err, step)
			}
			if run.Owner != "" || !run.RunAt.After(run.UpdatedAt) {
				t.Errorf("owner %q, tried again %s after it was blocked; want none, and later", run.Owner, run.RunAt.Sub(run.UpdatedAt))
			}
		})
	}
	stop()
	for i, handle := range handles {
		if n := b.by("new", handle.RunID()); n != 0 {
			t.Errorf("%s: %d effects of code that does not match: %v", names[i], n, b.effects(handle.RunID()))
		}
	}

	b.deploy(fitting)
	for i, handle := range handles {
		t.Run(names[i]+", is healed", func(t *testing.T) {
			b := b.with(t)
			if got, err := handle.Result(kit.Within(t, busy)); err != nil || got != 7 {
				t.Errorf("by code that matches: %d, %v", got, err)
			}
			if n := b.by("fits", handle.RunID()); n != 0 {
				t.Errorf("%d effects of steps that were recorded", n)
			}
			b.once(t, handle.RunID())
			if run := b.get(handle.RunID()); run.Err != nil {
				t.Errorf("a completed run keeps the error %v", run.Err)
			}
		})
	}
}

// What matches goes on, and takes effect once.
func TestChangesThatFit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, change := range map[string]struct{ old, deployed []stage }{
		"the same":         {[]stage{plain("a"), inTx("b"), nap("c")}, []stage{plain("a"), inTx("b"), nap("c")}},
		"one more":         {[]stage{plain("a"), plain("b")}, []stage{plain("a"), plain("b"), plain("c")}},
		"one more branch":  {in("k", plain("a")), append(in("l", plain("x")), in("k", plain("a"))...)},
		"more in a branch": {in("k", plain("a")), in("k", plain("a"), inTx("b"))},
		"branches in another order": {
			append(in("k", plain("a")), in("l", plain("b"))...), append(in("l", plain("b"), plain("c")), in("k", plain("a"))...)},
	} {
		handle := b.release(code{workflow: name, release: "old", stages: change.old, holds: true}).history()
		b.release(code{workflow: name, release: "new", stages: change.deployed}).deploy()
		if got, err := handle.Result(kit.Within(t, busy)); err != nil || got != 7 {
			t.Errorf("%s: %d, %v", name, got, err)
		}
		b.once(t, handle.RunID())
	}
}

// A blocked run is tried again, ever more rarely, and healed by a worker that knows better, although another does not.
func TestBlockedRunIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	handle := b.release(code{release: "old", stages: []stage{plain("a"), plain("b")}, holds: true}).history()
	wrong := b.release(code{release: "new", stages: []stage{plain("a"), plain("B")}})
	wrong.deploy()
	kit.Until(t, "it is tried four times", func() bool { return wrong.calls.Load() >= 4 })
	wrong.mu.Lock()
	first, third := wrong.times[1].Sub(wrong.times[0]), wrong.times[3].Sub(wrong.times[2])
	wrong.mu.Unlock()
	if first < time.Second/3 || third < 4*time.Second/3 { // a busy machine makes pauses longer only
		t.Errorf("tried again after %s, and the third time after %s; want about a second, then about four", first, third)
	}
	if run := b.blocked(handle.RunID()); !errors.Is(run.Err, errMismatch) {
		t.Errorf("blocked by %v", run.Err)
	}
	fits := b.release(code{release: "fits", stages: []stage{plain("a"), plain("b")}})
	for range 3 { // it gets a try from these before the other one for long
		fits.deploy()
	}
	if got, err := handle.Result(kit.Within(t, busy)); err != nil || got != 7 {
		t.Errorf("result %d, %v", got, err)
	}
	b.once(t, handle.RunID())
}

// A blocked run can be cancelled like any run that waits.
func TestCancelOfABlockedRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	handle := b.release(code{release: "old", stages: []stage{plain("a")}, holds: true}).history()
	b.release(code{release: "new", stages: []stage{plain("A")}}).deploy()
	b.blocked(handle.RunID())
	if err := b.svc.Cancel(t.Context(), handle.RunID()); err != nil {
		t.Fatal(err)
	}
	if _, err := handle.Result(kit.Within(t, busy)); !errors.Is(err, workflow.ErrRunCancelled) {
		t.Errorf("result %v, want ErrRunCancelled", err)
	}
	if n := b.by("new", handle.RunID()); n != 0 {
		t.Errorf("%d effects", n)
	}
}

// An application that drives runs by the state API has recorded what it liked: that is served, and is never a mismatch.
func TestStepsOfTheStateAPIAreNoMismatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(b.t, b.svc)
	var charged atomic.Int32
	w := workflow.Define("served", func(ctx context.Context, n int) (string, error) {
		if _, err := workflow.Do(ctx, "new", value(n)); err != nil {
			return "", err
		}
		first, err := workflow.Do(ctx, "charge", func(context.Context) (string, error) { charged.Add(1); return "again", nil })
		if err != nil {
			return "", err
		}
		second, err := workflow.DoTx(ctx, "book", func(context.Context, *sql.Tx) (string, error) { charged.Add(1); return "again", nil })
		return first + " " + second, err
	})
	id, err := b.svc.CreateRun(t.Context(), "served", 7)
	if err != nil {
		t.Fatal(err)
	}
	for step, result := range map[string]string{"charge": "charged", "book": "booked", "never reached": "x"} {
		if err := b.svc.SetStepResult(t.Context(), id, step, result); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.svc.SetStepError(t.Context(), id, "never reached either", errors.New("x")); err != nil {
		t.Fatal(err)
	}
	b.svc.Register(w)
	if got, err := w.Handle(b.svc, id).Result(kit.Within(t, busy)); err != nil || got != "charged booked" {
		t.Errorf("result %q, %v", got, err)
	}
	if charged.Load() != 0 {
		t.Errorf("steps that had a result were executed %d times", charged.Load())
	}
}
