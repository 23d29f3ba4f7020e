package run

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
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

// timedRun is a run without a database.
func timedRun() *Run {
	env := &Env{ParkAfter: 5 * time.Second, Observer: write.NewObserver(slog.New(slog.DiscardHandler), nil)}
	claimed := store.ClaimedRun{Owned: store.Owned{RunID: "r", Epoch: 1}, Workflow: "w"}
	return New(env, claimed, nil, store.History{}, func(*store.Run) {})
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timedRun()
		c := r.newCall(nil)
		start := time.Now()
		if err := c.waitUntil(c.ctx, start.Add(5*time.Second)); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("a short wait: %v after %s, want nil after 5s", err, time.Since(start))
		}

		// A step in flight holds up the parking; then the run must have been quiet for a moment.
		start = time.Now()
		a := new(attempt)
		if err := c.begin(c.ctx, a); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { c.done(a) })
		if err := c.waitUntil(c.ctx, start.Add(time.Hour)); !errors.Is(err, errParked) {
			t.Errorf("a long wait: %v, want errParked", err)
		}
		if parked := time.Since(start); parked != time.Minute+firstPatience {
			t.Errorf("parked after %s, want a minute and %s", parked, firstPatience)
		}
		if err := c.begin(c.ctx, a); !errors.Is(err, errParked) || !c.refused {
			t.Errorf("a step after that: %v, want errParked", err)
		}
		r.Lose(context.Canceled)
	})
}

// A call in place of a refused park is more patient than the one before.
func TestPatienceGrows(t *testing.T) {
	t.Parallel()
	r := timedRun()
	c := r.newCall(nil)
	for want := firstPatience; want < maxPatience; want *= 2 {
		if c.patience != want {
			t.Errorf("patience %s, want %s", c.patience, want)
		}
		c = r.newCall(c)
	}
	if c = r.newCall(c); c.patience != maxPatience {
		t.Errorf("patience %s, want %s", c.patience, maxPatience)
	}
}

// What hangs is reported at the second look, the fourth, the eighth and so on.
func TestReportsGetRare(t *testing.T) {
	t.Parallel()
	var n reports
	var at []int
	for look := 1; look <= 20; look++ {
		if n.due() {
			at = append(at, look)
		}
	}
	if len(at) != 4 || at[0] != 2 || at[3] != 16 {
		t.Errorf("reported at %v, want 2, 4, 8 and 16", at)
	}
}
