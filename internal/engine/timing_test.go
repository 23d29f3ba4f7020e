package engine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	policy := store.RetryPolicy{FirstDelay: time.Second, Factor: 2, MaxDelay: 5 * time.Minute, Jitter: 0.2}
	for _, test := range []struct {
		n      int
		random float64
		want   time.Duration
	}{
		{1, 0, time.Second},
		{2, 0, 2 * time.Second},
		{9, 0, 256 * time.Second},
		{10, 0, 5 * time.Minute},   // capped
		{5000, 0, 5 * time.Minute}, // also when the power overflows
		{2, 0.5, 1800 * time.Millisecond},
		{10, 1, 4 * time.Minute},
	} {
		if got := backoff(policy, test.n, test.random); got != test.want {
			t.Errorf("after failure %d with %v: %s, want %s", test.n, test.random, got, test.want)
		}
	}
}

// heldLease is a lease of 30 s, without a database.
func heldLease(id string) *lease {
	l := newLease(context.Background(), nil, &worker{config: Config{Lease: 30 * time.Second}, log: slog.New(slog.DiscardHandler)})
	l.hold(id, time.Now())
	return l
}

// The watchdog needs no database: a lease that is not renewed ends here a tenth before it ends there.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := heldLease("w")
		start := time.Now()
		<-l.held.Done()
		if lasted := time.Since(start); lasted != 27*time.Second {
			t.Errorf("the lease lasted %s, want 27s", lasted)
		}
		if cause := context.Cause(l.held); !errors.Is(cause, store.ErrRunLost) {
			t.Errorf("it ended with %v, want ErrRunLost", cause)
		}
		if _, id := l.current(); id != "" {
			t.Errorf("the worker is %q still", id)
		}
	})
}

// A heartbeat counts from when it was sent, not from when it was answered.
func TestWatchdogAfterRenewals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := heldLease("w")
		start := time.Now()
		for range 10 {
			asked := time.Now()
			time.Sleep(5 * time.Second) // until the answer
			l.mu.Lock()
			l.renewed(asked)
			l.mu.Unlock()
			time.Sleep(15 * time.Second)
		}
		<-l.held.Done()
		if lasted := time.Since(start); lasted != (180+27)*time.Second {
			t.Errorf("the lease lasted %s, want 3m27s", lasted)
		}
	})
}

// The watchdog of a lease that was given up does not end the next one.
func TestWatchdogOfAnOlderLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := heldLease("new")
		l.expire("old")
		l.lose("old")
		if l.held.Err() != nil {
			t.Error("the lease ended")
		}
		l.lose("new")
		if l.held.Err() == nil {
			t.Error("the lease did not end")
		}
	})
}

func timedRun() *run {
	w := &worker{
		config: Config{ParkAfter: 5 * time.Second}, patience: make(map[string]time.Duration),
		lease: heldLease("w"), log: slog.New(slog.DiscardHandler),
	}
	w.lease.watchdog.Stop()
	w.engine = &Engine{}
	return newRun(w, store.ClaimedRun{ID: "r", Workflow: "w"}, nil)
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timedRun()
		ctx, pause := context.WithCancelCause(r.own)
		r.pause = pause
		start := time.Now()
		if err := r.waitUntil(ctx, start.Add(5*time.Second)); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("a short wait: %v after %s, want nil after 5s", err, time.Since(start))
		}

		// A step in flight holds up the parking; then the run must have been quiet for a moment.
		start = time.Now()
		if err := r.takeOff(ctx); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, r.land)
		if err := r.waitUntil(ctx, start.Add(time.Hour)); !errors.Is(err, errParked) {
			t.Errorf("a long wait: %v, want errParked", err)
		}
		if parked := time.Since(start); parked != time.Minute+firstPatience {
			t.Errorf("parked after %s, want a minute and %s", parked, firstPatience)
		}
		if err := r.takeOff(ctx); !errors.Is(err, errParked) || !r.refused {
			t.Errorf("a step after that: %v, want errParked", err)
		}
		r.loseOwn(nil)
	})
}

func TestPatienceGrows(t *testing.T) {
	t.Parallel()
	w := &worker{patience: make(map[string]time.Duration)}
	for want := firstPatience; want < maxPatience; want *= 2 {
		if got := w.patienceWith("r"); got != want {
			t.Errorf("patience %s, want %s", got, want)
		}
		w.bePatient("r")
	}
	for range 20 {
		w.bePatient("r")
	}
	if got := w.patienceWith("r"); got != maxPatience {
		t.Errorf("patience %s, want %s", got, maxPatience)
	}
	w.forgetPatience("r")
	if got := w.patienceWith("r"); got != firstPatience {
		t.Errorf("patience %s after a good park, want %s", got, firstPatience)
	}
}
