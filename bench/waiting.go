package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A family is a parent and its children.
type family interface {
	// Family starts a parent, which starts n children of one step and awaits them all, and returns when its result is known.
	Family(ctx context.Context, n int) error
}

// A mailbox has runs that wait for a signal.
type mailbox interface {
	// Wait starts a run that waits for a signal and has it as its result.
	Wait(ctx context.Context) (signalled, error)
}

// signalled sends the signal to a run that waits, and returns when the run's result is known.
type signalled func(ctx context.Context) error

const (
	waitingSlots = 128 // for runs at a time, parents and children alike
	// Each caller has so many runs that wait, and sends to the one that has waited longest: it has done so while the caller had
	// others end, so that it does not find the signal there. All of them together are no more than the peers keep in memory.
	waitingRuns = 3
	signalName  = "go on"
	waitAtMost  = time.Hour
)

// signalValue is of the size of a step's result.
var signalValue = stepResult

// same returns an error if the result of a run is not what its work makes.
func same[T comparable](got, want T, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("the result is %v, not %v", got, want)
	}
	return err
}

// runChildren counts families.
func runChildren(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, waitingSlots)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	f := sys.(family)
	return runOperations(ctx, t, func(ctx context.Context, _ int) (time.Duration, error) {
		began := time.Now()
		err := f.Family(ctx, t.Count)
		return time.Since(began), err
	})
}

// runSignals counts runs that a signal ends, and times from the sending of the signal to the result of the run.
func runSignals(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, waitingSlots)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	s := senders{mailbox: sys.(mailbox), waiting: make([][]signalled, t.Concurrent)}
	v, err = runOperations(ctx, t, s.next)
	return v, errors.Join(err, s.rest(ctx))
}

// senders have runs that wait, and send to them.
type senders struct {
	mailbox
	waiting [][]signalled // of each caller, the oldest first
}

// next starts a run that waits and ends another one.
func (s senders) next(ctx context.Context, caller int) (time.Duration, error) {
	for len(s.waiting[caller]) <= waitingRuns {
		run, err := s.Wait(ctx)
		if err != nil {
			return 0, err
		}
		s.waiting[caller] = append(s.waiting[caller], run)
	}
	oldest := s.waiting[caller][0]
	s.waiting[caller] = s.waiting[caller][1:]
	began := time.Now()
	err := oldest(ctx)
	return time.Since(began), err
}

// rest ends all that wait.
func (s senders) rest(ctx context.Context) error {
	all := slices.Concat(s.waiting...)
	return inParallel(ctx, len(all), func(ctx context.Context, i int) error { return all[i](ctx) })
}

// An operation is what one of the callers does; it tells how long what is to be timed of it took.
type operation func(ctx context.Context, caller int) (time.Duration, error)

// runOperations has t.Concurrent callers do an operation again and again, for the warm-up and then for the window. An operation may
// take longer than either. So each that has begun is awaited, and counted against the time to the end of the last.
func runOperations(ctx context.Context, t task, do operation) (values, error) {
	counters, err := openCounters(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer counters.db.Close()
	if _, err := repeat(ctx, t.Concurrent, t.Warmup, do); err != nil {
		return nil, err
	}
	before, beforeErr := counters.read(ctx)
	began := time.Now()
	took, err := repeat(ctx, t.Concurrent, t.Window, do)
	elapsed := time.Since(began)
	after, afterErr := counters.read(ctx)
	if err := errors.Join(err, beforeErr, afterErr); err != nil {
		return nil, err
	}
	v := percentiles(took)
	v[runsPerSecond], v[peakMB] = float64(len(took))/elapsed.Seconds(), peak()
	v.perRun(before, after, len(took))
	return v, nil
}

// repeat has callers begin operations until the window is over, each one at least, and returns when all have ended.
func repeat(ctx context.Context, callers int, window time.Duration, do operation) ([]time.Duration, error) {
	took := make([][]time.Duration, callers)
	errs := make([]error, callers)
	over := time.Now().Add(window)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for errs[caller] == nil {
				var d time.Duration
				d, errs[caller] = do(ctx, caller)
				took[caller] = append(took[caller], d)
				if time.Now().After(over) {
					return
				}
			}
		})
	}
	all.Wait()
	return slices.Concat(took...), errors.Join(errs...)
}
