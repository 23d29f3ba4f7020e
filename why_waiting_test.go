package workflow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

func TestWhyRetry(t *testing.T) {
	t.Parallel()
	w := workflow.Define("pays", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "pay", func(ctx context.Context) (int, error) {
			if workflow.Attempt(ctx) < 3 {
				return 0, errors.New("too early")
			}
			return 0, workflow.RetryAfter(&workflow.Error{Code: "no_money", Message: "no money"}, time.Hour)
		}, quickly(5))
	})
	b := whyBench(t, unchanged, w)
	got := b.why(started(w.Start(t.Context(), b.svc, 1))(t), workflow.WhyRetry)
	kit.Until(t, "the fourth attempt waits", func() bool { got = b.why(got.RunID, workflow.WhyRetry); return got.Attempt == 4 })
	got = b.parkedWhy(got)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyRetry, Step: "pay", Attempt: 4, MaxAttempts: 5, Until: got.Now.Add(time.Hour),
		Err: &workflow.Error{Code: "no_money", Message: "no money"}, Workers: 1, Serving: 1,
	}, `the run is suspended: attempt 4 of 5 of step "pay" begins at 20`, "(in ", "the one before failed: no money")
}

// parkedWhy asks again once the run has no owner.
func (b *bench) parkedWhy(why workflow.Why) workflow.Why {
	b.t.Helper()
	kit.Until(b.t, "the run is parked", func() bool { return b.get(why.RunID).Status == workflow.RunSuspended })
	return b.why(why.RunID, why.Code)
}

func TestWhyAsleep(t *testing.T) {
	t.Parallel()
	w := workflow.Define("sleeps", func(ctx context.Context, _ int) (int, error) { return 0, workflow.Sleep(ctx, "winter", time.Hour) })
	b := whyBench(t, parking, w)
	handle, err := w.Start(t.Context(), b.svc, 1)
	got := b.parkedWhy(b.why(started(handle, err)(t), workflow.WhyAsleep))
	b.wantWhy(got, workflow.Why{Code: workflow.WhyAsleep, Step: "winter", Until: got.Now.Add(time.Hour), Workers: 1, Serving: 1},
		`the run is suspended: its step "winter" sleeps until 20`, "(in ")

	// Whoever waits for the result is told the same.
	said := timeless(impatient(t, handle).Error())
	if want := timeless(got.String()); !strings.Contains(said, want) {
		t.Errorf("Result says %q, want %q in it", said, want)
	}
}

// What has to come is named, whatever branch waits for it.
func TestWhySignal(t *testing.T) {
	t.Parallel()
	w := workflow.Define("waits", func(ctx context.Context, long time.Duration) (int, error) { return number.Wait(ctx, long) })
	b := whyBench(t, parking, w)
	for long, words := range map[time.Duration]string{0: "it waits for signal:number", time.Hour: "it waits for signal:number, step:number, until 20"} {
		handle, err := w.Start(t.Context(), b.svc, long)
		got := b.why(started(handle, err)(t), workflow.WhySignal)
		want := workflow.Why{Code: workflow.WhySignal, Workers: 1, Serving: 1}
		if long > 0 {
			want.Until = got.Now.Add(long)
		}
		b.wantWhy(got, want, "the run is suspended", words)
		if long > 0 {
			continue
		}
		if err := impatient(t, handle); !strings.Contains(err.Error(), got.String()) {
			t.Errorf("Result says %q, want %q in it", err, got)
		}
	}
}

// Of the children those are named that have stood still for longest; who has ended is not among them.
func TestWhyChildren(t *testing.T) {
	t.Parallel()
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
	parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) {
		if n == 1 {
			return workflow.Call(ctx, "one", nobodys, 1)
		}
		if _, err := workflow.Call(ctx, "quick", child, 1); err != nil {
			return 0, err
		}
		_, err := workflow.CallAll(ctx, "all", child, make([]int, n), workflow.WithQueue("shut"))
		return 0, err
	})
	b := whyBench(t, parking, parent, child)
	b.ensure(workflow.Queue{Name: "shut"})
	kit.Must(t, b.svc.PauseQueue(t.Context(), "shut"))

	id := started(parent.Start(t.Context(), b.svc, 1))(t)
	got := b.why(id, workflow.WhyChildren)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyChildren, Count: 1, Workers: 1, Serving: 1,
		Runs: []workflow.WhyRun{{RunID: b.child("nobody's", 0), Workflow: "nobody's", Status: workflow.RunPending, Since: got.Now}},
	}, "it waits for step:one: 1 run not ended: ", "(nobody's, pending)")

	id = started(parent.Start(t.Context(), b.svc, 12))(t)
	kit.Until(t, "the parent waits for all", func() bool { return strings.Contains(strings.Join(b.get(id).WaitsFor, " "), "step:all") })
	got = b.why(id, workflow.WhyChildren)
	for _, run := range got.Runs {
		if child := b.get(run.RunID); child.ParentID != id || child.ParentStep != "all" || child.Status != run.Status || !child.UpdatedAt.Equal(run.Since) {
			t.Errorf("%+v is %+v", run, child)
		}
	}
	if len(got.Runs) != 10 {
		t.Errorf("%d of 12 runs are named, want 10", len(got.Runs))
	}
	b.wantWhy(got, workflow.Why{Code: workflow.WhyChildren, Count: 12, Runs: got.Runs, Workers: 1, Serving: 1},
		"it waits for step:all: 12 runs not ended", "and 2 more")
}

func TestWhyDelayed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.why(started(nobodys.Start(t.Context(), b.svc, 1, workflow.WithDelay(time.Hour)))(t), workflow.WhyDelayed)
	b.wantWhy(got, workflow.Why{Code: workflow.WhyDelayed, Until: got.Now.Add(time.Hour)},
		"the run is pending until 20", "(in ", `; no worker is alive to execute workflow "nobody's"`)
}

// What was recorded and what was asked is in the error.
func TestWhyBlocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	handle := b.release(code{release: "old", stages: []stage{plain("recorded")}, holds: true}).history()
	b.release(code{release: "new", stages: []stage{plain("asked")}}).deploy(func(c *workflow.Config) { c.Lease = longLease })
	run := b.blocked(handle.RunID())
	got := b.why(run.ID, workflow.WhyBlocked)
	if !errors.Is(got.Err, workflow.CodeNondeterministic) {
		t.Errorf("blocked by %v", got.Err)
	}
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyBlocked, Since: run.BlockedAt, Until: run.RunAt, Err: got.Err, Workers: got.Workers, Serving: 1,
	}, "the run is suspended: it is blocked since 20", "will be tried again at", `"asked" is not recorded`, "recorded steps: recorded")
}

func TestWhyByHand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, err := b.svc.CreateRun(t.Context(), "by hand", 1)
	kit.Must(t, err)
	kit.Exec(t, b.db, "UPDATE workflows.workflow_runs SET run_at = NULL") // as of a run that was made before there were workers
	for _, status := range []workflow.RunStatus{workflow.RunPending, workflow.RunRunning, workflow.RunSuspended} {
		if status != workflow.RunPending {
			kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, status, nil, nil))
		}
		got := b.why(id, workflow.WhyByHand)
		b.wantWhy(got, workflow.Why{Code: workflow.WhyByHand}, "the run is "+string(status)+" by hand: no worker will claim it")
	}
}

func TestWhyFinished(t *testing.T) {
	t.Parallel()
	w := workflow.Define("ends", func(_ context.Context, n int) (int, error) {
		if n > 0 {
			return 0, &workflow.Error{Code: "broken", Message: "it broke"}
		}
		return 0, nil
	})
	b := whyBench(t, unchanged, w)
	b.wantWhy(b.why(started(w.Start(t.Context(), b.svc, 0))(t), workflow.WhyFinished),
		workflow.Why{Code: workflow.WhyFinished, Workers: 1, Serving: 1}, "the run is completed")
	b.wantWhy(b.why(started(w.Start(t.Context(), b.svc, 1))(t), workflow.WhyFinished),
		workflow.Why{Code: workflow.WhyFinished, Err: &workflow.Error{Code: "broken", Message: "it broke"}, Workers: 1, Serving: 1},
		"the run is failed: it broke")
}

func TestWhyErrors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.svc.Why(t.Context(), "unknown")
	kit.WantIs(t, err, workflow.ErrRunNotFound)
	_, err = b.svc.Why(t.Context(), "\x00")
	kit.WantIs(t, err, workflow.ErrInvalidArgument)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.svc.Why(ended, "unknown")
	kit.WantIs(t, err, context.Canceled)
	kit.Must(t, b.svc.Close())
	_, err = b.svc.Why(t.Context(), "unknown")
	kit.WantIs(t, err, workflow.ErrClosed)
}
