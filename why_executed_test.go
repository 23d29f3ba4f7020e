package workflow_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

func (b *bench) ownedBy(got workflow.Why, pid int, version string, lease time.Duration) workflow.WhyWorker {
	b.t.Helper()
	host, err := os.Hostname()
	kit.Must(b.t, err)
	if left := got.Worker.LeaseUntil.Sub(got.Now); left > lease+time.Minute || got.Worker.ID == "" {
		b.t.Errorf("worker %+v, its lease ends in %s", got.Worker, left)
	}
	return workflow.WhyWorker{ID: got.Worker.ID, Host: host, PID: pid, Version: version, LeaseUntil: got.Worker.LeaseUntil}
}

func TestWhyExecuted(t *testing.T) {
	t.Parallel()
	b := whyBench(t, func(c *workflow.Config) { c.Version = "v7" }, hold)
	id := started(hold.Start(t.Context(), b.svc, 1))(t)
	got := b.why(id, workflow.WhyExecuted)
	if owner := b.get(id).Owner; got.Worker.ID != owner {
		t.Errorf("worker %q, want %q", got.Worker.ID, owner)
	}
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyExecuted, Worker: b.ownedBy(got, os.Getpid(), "v7", longLease), Workers: 1, Serving: 1,
	}, "the run is running: worker "+got.Worker.ID, "executes it", "version v7", "lease ends in ")
}

// A step is told once its worker has published it, the one that has been in flight for longest.
func TestWhyStepInFlight(t *testing.T) {
	t.Parallel()
	first, release := make(chan struct{}), make(chan struct{})
	begins := sync.OnceFunc(func() { close(first) })
	defer close(release)
	hang := func(ctx context.Context) (int, error) { <-release; return 0, ctx.Err() }
	w := workflow.Define("two steps", func(ctx context.Context, _ int) (int, error) {
		other := kit.Go(t, func() error {
			_, err := workflow.Do(workflow.Branch(ctx, "a"), "charge", func(ctx context.Context) (int, error) {
				begins()
				return hang(ctx)
			})
			return err
		})
		kit.Receive(t, "the first step begins", first)
		kit.Pause(ctx, 5*time.Millisecond)
		_, err := workflow.Do(workflow.Branch(ctx, "b"), "mail", hang)
		return 0, errors.Join(err, kit.Receive(t, "the first step ends", other))
	})
	const publishing = 6 * time.Second // a heartbeat each second
	b := whyBench(t, func(c *workflow.Config) { c.Lease = publishing }, w)
	id := started(w.Start(t.Context(), b.svc, 1))(t)
	var got workflow.Why
	kit.Until(t, "both are published", func() bool { got = b.why(id, workflow.WhyStepInFlight); return got.Count == 2 })
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyStepInFlight, Step: "a/charge", Since: got.Now, Count: 2,
		Worker: b.ownedBy(got, os.Getpid(), "", publishing), Workers: 1, Serving: 1,
	}, "the run is running", `its step "a/charge" has been in flight for`, "(and 1 step more)")
	if got.Since.IsZero() || got.Since.After(got.Now) {
		t.Errorf("in flight since %s, now is %s", got.Since, got.Now)
	}
}

// The worker was killed, and no other process lives that could take its run over.
func TestWhyLeaseEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := started(twoSteps(b.db, noHold, untold).Start(t.Context(), b.svc, "in"))(t)
	child := b.spawn()
	for {
		kit.Until(t, "the run is executed", func() bool { return b.get(id).Owner != "" })
		child.Kill()
		if b.get(id).Owner != "" {
			break
		}
		child = b.spawn() // on a busy machine it had lost its lease
	}
	got := b.why(id, workflow.WhyLeaseEnded)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyLeaseEnded, Since: got.Worker.LeaseUntil, Worker: b.ownedBy(got, child.PID(), "", 0),
	}, "has died, and another one will take it over; the lease ended", `no worker is alive to execute workflow "two"`)
}

// A short wait holds its slot: then the worker is told besides.
func TestWhyWaitsInItsWorker(t *testing.T) {
	t.Parallel()
	fails := workflow.Define("fails", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "pay", func(context.Context) (int, error) { return 0, errors.New("no money") },
			workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: -1, FirstDelay: time.Hour, MaxDelay: time.Hour, Jitter: -1}))
	})
	sleeps := workflow.Define("sleeps", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "nap", time.Hour)
	})
	b := whyBench(t, func(c *workflow.Config) { c.ParkAfter = 2 * time.Hour }, fails, sleeps)

	got := b.why(started(fails.Start(t.Context(), b.svc, 1))(t), workflow.WhyRetry)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyRetry, Step: "pay", Attempt: 2, MaxAttempts: -1, Until: got.Now.Add(time.Hour), Err: &workflow.Error{Message: "no money"},
		Worker: b.ownedBy(got, os.Getpid(), "", longLease), Workers: 1, Serving: 1,
	}, "the run is running in worker "+got.Worker.ID, `: attempt 2 of step "pay" begins at 20`, "; the one before failed: no money")

	got = b.why(started(sleeps.Start(t.Context(), b.svc, 1))(t), workflow.WhyAsleep)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyAsleep, Step: "nap", Until: got.Now.Add(time.Hour),
		Worker: b.ownedBy(got, os.Getpid(), "", longLease), Workers: 1, Serving: 1,
	}, "the run is running in worker "+got.Worker.ID, `: its step "nap" sleeps until 20`)
}
