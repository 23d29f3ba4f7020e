package engine

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

// heldLease is a lease of 30 s, without a database.
func heldLease(id string) *lease {
	l := newLease(context.Background(), 30*time.Second, write.NewObserver(slog.New(slog.DiscardHandler), nil))
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
			l.renewed("w", asked)
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

// A handler of the application's hears of the end of a lease while nothing is locked: it may ask, and it may hang.
func TestLeaseIsFreeWhileItsEndIsLogged(t *testing.T) {
	t.Parallel()
	l, asked, free := heldLease("w"), false, false
	l.observer = write.NewObserver(slog.New(askingHandler{slog.DiscardHandler, func() {
		asked = true
		if free = l.mu.TryLock(); free {
			l.mu.Unlock()
		}
	}}), nil)
	l.lose("w")
	if !asked || !free {
		t.Errorf("asked %t, free %t; want both", asked, free)
	}
}

type askingHandler struct {
	slog.Handler
	ask func()
}

func (askingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h askingHandler) Handle(context.Context, slog.Record) error {
	h.ask()
	return nil
}
