package engine

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// alarms are times at which runs are due that this process has parked, delayed or handed back: while polls are rare, nobody would
// look just then. Those of a process that has died, and those beyond the bound, are found by the polls.
type alarms struct {
	ring  func()
	begun time.Time

	mu    sync.Mutex
	at    []time.Duration // since it began, the latest first
	timer *time.Timer
}

const (
	maxAlarms   = 10_000
	alarmMargin = 3 * time.Millisecond // after the time itself, which the database rounds
	alarmGrain  = 10 * time.Millisecond
)

func newAlarms(ring func()) *alarms { return &alarms{ring: ring, begun: time.Now()} }

// set makes ring be called after d, or soon after that: many are one.
func (a *alarms) set(d time.Duration) {
	at := (time.Since(a.begun) + d + alarmMargin).Truncate(alarmGrain) + alarmGrain
	a.mu.Lock()
	defer a.mu.Unlock()
	i, found := slices.BinarySearchFunc(a.at, at, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	if found || len(a.at) >= maxAlarms {
		return
	}
	a.at = slices.Insert(a.at, i, at)
	if i == len(a.at)-1 {
		a.arm()
	}
}

// arm expects mu to be held. It waits for the first time, if there is one.
func (a *alarms) arm() {
	if a.timer != nil {
		a.timer.Stop()
	}
	if n := len(a.at); n > 0 {
		a.timer = time.AfterFunc(a.at[n-1]-time.Since(a.begun), a.due)
	}
}

func (a *alarms) due() {
	a.mu.Lock()
	now, before := time.Since(a.begun), len(a.at)
	for len(a.at) > 0 && a.at[len(a.at)-1] <= now {
		a.at = a.at[:len(a.at)-1]
	}
	rings := len(a.at) < before
	a.arm()
	a.mu.Unlock()
	if rings {
		a.ring()
	}
}

// stop ends it.
func (a *alarms) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = nil
	a.arm()
}
