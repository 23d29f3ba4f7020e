package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A dormitory has runs that sleep, and others that begin meanwhile.
type dormitory interface {
	// Park starts n runs that record a step and then sleep for an hour, and returns when all do.
	Park(ctx context.Context, n int) error
	// WakeAll makes all of them due, at one time, and returns at once.
	WakeAll(ctx context.Context) error
	// Asleep returns how many have not ended.
	Asleep(ctx context.Context) (int, error)
	// Begin starts a run of one step and returns when that has begun, and when its result is known. Here is in the process that executes it,
	// as most runs are started; else it has to be found by a claim.
	Begin(ctx context.Context, here bool) (begun, known time.Duration, err error)
}

// Beside the sleepers a run is started each arrivalPause, however long those before it take, for as long as arrivals says.
const (
	arrivalPause = 5 * time.Millisecond
	arrivals     = 2 * time.Second
)

// The names of values: what new runs take without sleepers and while all of them are due, and how fast these are parked and end.
const (
	calmP50       = "begins alone, p50 µs"
	calmP99       = "begins alone, p99 µs"
	besideP50     = "begins beside, p50 µs"
	besideP99     = "begins beside, p99 µs"
	foundP50      = "begins beside, from elsewhere, p50 µs"
	foundP99      = "begins beside, from elsewhere, p99 µs"
	knownBeside50 = "known beside, p50 µs"
	knownBeside99 = "known beside, p99 µs"
	parksPerSec   = "parks/s"
	wakesPerSec   = "wakes/s"
)

// runSleepers parks many runs, makes all of them due at once, and times new runs in the two seconds after that: first those that start in
// the process that executes them, and with as many sleepers once more those that start elsewhere.
func runSleepers(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, waitingSlots)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	d := sys.(dormitory)
	counters, err := openCounters(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer counters.db.Close()
	calm, err := arrive(ctx, d, true, t.Window)
	if err != nil {
		return nil, err
	}
	v = values{calmP50: calm.begun[p50], calmP99: calm.begun[p99]}
	for _, here := range []bool{true, false} {
		before, beforeErr := counters.read(ctx)
		began := time.Now()
		parkErr := d.Park(ctx, t.Count)
		parked := time.Since(began)
		after, afterErr := counters.read(ctx)
		if err := errors.Join(beforeErr, parkErr, afterErr); err != nil {
			return nil, err
		}
		beside, woken, err := wake(ctx, d, here, t.Window)
		if err != nil {
			return nil, err
		}
		if !here {
			v[foundP50], v[foundP99] = beside.begun[p50], beside.begun[p99]
			continue
		}
		v[besideP50], v[besideP99], v[knownBeside50], v[knownBeside99] = beside.begun[p50], beside.begun[p99], beside.known[p50], beside.known[p99]
		v[parksPerSec], v[wakesPerSec] = float64(t.Count)/parked.Seconds(), float64(t.Count)/woken.Seconds()
		for name, n := range after {
			v[name+perRun] = (n - before[name]) / float64(t.Count)
		}
	}
	return v, nil
}

// wake wakes all, has new runs arrive, and returns when the last sleeper has ended, and how long after it was due.
func wake(ctx context.Context, d dormitory, here bool, window time.Duration) (beside arrived, took time.Duration, err error) {
	if err := d.WakeAll(ctx); err != nil {
		return beside, 0, err
	}
	began := time.Now()
	if beside, err = arrive(ctx, d, here, window); err != nil {
		return beside, 0, err
	}
	for {
		left, err := d.Asleep(ctx)
		if err != nil || left == 0 {
			return beside, time.Since(began), err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// arrived is how long new runs took to begin, and until their results were known.
type arrived struct{ begun, known values }

// arrive has new runs arrive until the window is over, and awaits them.
func arrive(ctx context.Context, d dormitory, here bool, window time.Duration) (arrived, error) {
	n := int(min(window, arrivals) / arrivalPause)
	begun, known, errs := make([]time.Duration, n), make([]time.Duration, n), make([]error, n)
	tick := time.NewTicker(arrivalPause)
	defer tick.Stop()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { begun[i], known[i], errs[i] = d.Begin(ctx, here) })
		<-tick.C
	}
	all.Wait()
	return arrived{percentiles(begun), percentiles(known)}, errors.Join(errs...)
}
