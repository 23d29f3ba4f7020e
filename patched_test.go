package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A blocked run that nobody heals fails in the end, with the error that it was blocked by, and counts as blocked until then.
func TestBlockedRunFailsInTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	handle := b.release(code{release: "old", stages: []stage{plain("a")}, holds: true}).history()
	b.svc = b.service()
	stop := b.release(code{release: "new", stages: []stage{plain("A")}}).deploy(func(c *workflow.Config) { c.BlockedFor = 2 * time.Second })
	blocked := b.blocked(handle.RunID())
	stats, err := b.svc.Stats(t.Context())
	kit.Must(t, err)
	if stats.Suspended[workflow.SuspendedBlocked] != 1 {
		t.Errorf("Stats tells of %d blocked runs, want 1", stats.Suspended[workflow.SuspendedBlocked])
	}
	if _, err := handle.Result(kit.Context(t)); !errors.Is(err, errMismatch) {
		t.Errorf("result %v, want code nondeterministic", err)
	}
	run := b.get(handle.RunID())
	if run.Status != workflow.RunFailed || run.UpdatedAt.Sub(blocked.UpdatedAt) > 20*time.Second {
		t.Errorf("%s after %s", run.Status, run.UpdatedAt.Sub(blocked.UpdatedAt))
	}
	if n := b.by("new", handle.RunID()); n != 0 {
		t.Errorf("%d effects of code that does not match", n)
	}
	stats, err = b.svc.Stats(t.Context())
	kit.Must(t, err)
	if stats.Suspended[workflow.SuspendedBlocked] != 0 {
		t.Errorf("Stats tells of %d blocked runs, want none", stats.Suspended[workflow.SuspendedBlocked])
	}

	// Resume gives it to code that fits, once the code that would fail it again is gone.
	stop()
	kit.Must(t, b.svc.Resume(t.Context(), handle.RunID()))
	b.release(code{release: "fits", stages: []stage{plain("a")}}).deploy()
	kit.Until(t, "the resumed run is completed", func() bool { return b.get(handle.RunID()).Status == workflow.RunCompleted })
	b.once(t, handle.RunID())
}

// A step that is added behind Patched is taken by runs that were not there yet, and by no other; each sees the same whenever
// it is replayed. Once no run is left that is older, the call of Patched may go.
func TestPatched(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	answers := make(map[string][]bool)
	patched := func(b *bench, marked bool, end func(context.Context) error) *workflow.Workflow[int, int] {
		r := b.release(code{release: "new"})
		return workflow.Define("deployed", func(ctx context.Context, n int) (int, error) {
			if err := r.step(ctx, plain("a")); err != nil {
				return 0, err
			}
			taken := true
			if marked {
				taken = workflow.Patched(ctx, "x")
				mu.Lock()
				answers[workflow.RunID(ctx)] = append(answers[workflow.RunID(ctx)], taken)
				mu.Unlock()
			}
			if taken {
				if err := r.step(ctx, plain("x")); err != nil {
					return 0, err
				}
			}
			if err := r.step(ctx, plain("b")); err != nil {
				return 0, err
			}
			return n, end(ctx)
		})
	}
	for name, history := range map[string]struct {
		old  []stage
		want bool
	}{
		"a new run":              {nil, true},
		"a run before the place": {[]stage{plain("a")}, true},
		"a run past the place":   {[]stage{plain("a"), plain("b")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var handle *workflow.Handle[int]
			if history.old != nil {
				handle = b.release(code{release: "old", stages: history.old, holds: true}).history()
			} else {
				var err error
				handle, err = workflow.Define[int, int]("deployed", nil).Start(t.Context(), b.svc, 7)
				kit.Must(t, err)
			}
			held := make(chan struct{}, 10)
			hold := func(ctx context.Context) error {
				held <- struct{}{}
				<-ctx.Done()
				return context.Cause(ctx)
			}
			for range 2 { // the second time it is replayed
				svc := b.service(func(c *workflow.Config) { c.Drain = 10 * time.Millisecond })
				svc.Register(patched(b, true, hold))
				stop := kit.Work(t, svc)
				kit.Receive(t, "the run has come to its end", held)
				stop()
			}
			last := b.service()
			last.Register(patched(b, !history.want, func(context.Context) error { return nil })) // where it was true the marker has gone
			kit.Work(t, last)
			if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
				t.Errorf("result %d, %v", got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, got := range answers[handle.RunID()] {
				if got != history.want {
					t.Errorf("Patched said %v, want %t each time", answers[handle.RunID()], history.want)
				}
			}
			want := map[string]int{"a": 1, "b": 1}
			if history.want {
				want["x"] = 1
			}
			got := make(map[string]int)
			for step, who := range b.effects(handle.RunID()) {
				got[step] = len(who)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
		})
	}
}

// Two patches in one place, in a loop and in branches keep apart.
func TestPatchedByNameAndBranch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(parking)
	kit.Work(t, b.svc)
	var calls [][]bool
	_, _, err := run(b, "patches", func(ctx context.Context, n int) (int, error) {
		var said []bool
		for _, branch := range []string{"k", "l"} {
			ctx := workflow.Branch(ctx, branch)
			for i := range 2 {
				said = append(said, workflow.Patched(ctx, "one"), workflow.Patched(ctx, "two"))
				if _, err := workflow.Do(ctx, fmt.Sprint("s", i), value(1)); err != nil {
					return 0, err
				}
			}
		}
		calls = append(calls, said)
		return 0, workflow.Sleep(ctx, "so that all is replayed", 200*time.Millisecond)
	})
	kit.Must(t, err)
	if len(calls) < 2 {
		t.Fatalf("called %d times, want it replayed", len(calls))
	}
	for _, said := range calls {
		for _, yes := range said {
			if !yes {
				t.Errorf("Patched in a new run: %v, want all true", said)
			}
		}
	}
}
