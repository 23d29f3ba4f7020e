package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// ErrPaused is what every step returns while its run stops in good order.
var ErrPaused = errors.New("the run is paused; return this error")

var (
	errParked   = fmt.Errorf("%w: it is parked until it has waited", ErrPaused)
	errDraining = fmt.Errorf("%w: its worker is stopping, and it will go on elsewhere", ErrPaused)
)

// Sleep records the time at which the run goes on, once, and waits for it: in process when that is soon, else the run is
// parked.
func Sleep(ctx context.Context, name string, d time.Duration) error {
	s, key, err := enter(ctx, name)
	if err != nil {
		return err
	}
	defer s.leave(name)
	r := s.run
	step, err := r.lookUp(key, store.SleepStep)
	if err != nil {
		return err
	}
	if step == nil || step.Status != store.StepSucceeded {
		if step, err = r.beginSleep(ctx, key, max(d, 0)); err != nil {
			return err
		}
	}
	return r.waitUntil(ctx, step.at.Add(step.WakeIn))
}

func (r *run) beginSleep(ctx context.Context, key string, d time.Duration) (*record, error) {
	if err := r.takeOff(ctx); err != nil {
		return nil, err
	}
	defer r.land()
	step, err := r.checkpoint(store.Checkpoint{Name: key, Kind: store.SleepStep, WakeIn: &d})
	if err != nil {
		r.lose(err)
		return nil, err
	}
	return r.remember(key, step), nil
}

// waitUntil waits for a time of the monotonic clock. A long wait parks the run, once no other goroutine of it is in a step.
func (r *run) waitUntil(ctx context.Context, at time.Time) error {
	if time.Until(at) <= 0 {
		return nil
	}
	if time.Until(at) > r.worker.config.ParkAfter {
		return r.park(ctx, at)
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.worker.lease.draining:
		r.pause(errDraining)
		return errDraining
	}
}

// park ends the body's context, which the body is to pass on; the run is suspended when it has returned. Another
// goroutine that reaches a step after that is refused, and the run is made runnable at once: so park is patient with a
// run in which other steps come and go, and more patient each time it was not patient enough.
func (r *run) park(ctx context.Context, at time.Time) error {
	patience := r.worker.patienceWith(r.id)
	for {
		flying, changed := r.airborne()
		var quiet <-chan time.Time
		var timer *time.Timer
		if flying == 0 {
			timer = time.NewTimer(patience)
			quiet = timer.C
		}
		select {
		case <-quiet:
			if r.ground(at) {
				r.pause(errParked)
				return errParked
			}
		case <-changed:
		case <-ctx.Done():
			if timer != nil {
				timer.Stop()
			}
			r.sooner(at)
			return context.Cause(ctx)
		case <-r.worker.lease.draining:
			r.pause(errDraining)
			return errDraining
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// ground makes the run park, unless a step has taken off.
func (r *run) ground(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flying > 0 {
		return false
	}
	if r.wakeAt.IsZero() || at.Before(r.wakeAt) {
		r.wakeAt = at
	}
	return true
}

// sooner makes a parked run wake at the earliest of its waits.
func (r *run) sooner(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.wakeAt.IsZero() && at.Before(r.wakeAt) {
		r.wakeAt = at
	}
}

// paused reports whether the body's context was ended in good order.
func (r *run) paused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.wakeAt.IsZero() || isClosed(r.worker.lease.draining)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// fly counts the steps in flight. It expects mu to be held.
func (r *run) fly(n int) {
	r.flying += n
	if r.quiet != nil {
		close(r.quiet)
		r.quiet = nil
	}
}

func (r *run) airborne() (flying int, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.quiet == nil {
		r.quiet = make(chan struct{})
	}
	return r.flying, r.quiet
}

// awaitFlying returns when no step is in flight, or the run is lost.
func (r *run) awaitFlying() {
	for {
		flying, changed := r.airborne()
		if flying == 0 {
			return
		}
		select {
		case <-changed:
		case <-r.own.Done():
			return
		}
	}
}

const (
	firstPatience = 20 * time.Millisecond
	maxPatience   = 10 * time.Second
)

// patienceWith returns for how long no step of the run must have been in flight before it is parked.
func (w *worker) patienceWith(runID string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(firstPatience, w.patience[runID])
}

// bePatient doubles it, after a park that refused a step.
func (w *worker) bePatient(runID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patience[runID] = min(maxPatience, 2*max(firstPatience, w.patience[runID]))
}

func (w *worker) forgetPatience(runID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.patience, runID)
}
