package run

import (
	"context"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Sleep records the time at which the run goes on, once, and waits for it: in process when that is soon, else the run is
// parked.
func Sleep(ctx context.Context, name string, d time.Duration) error {
	s, err := enter(ctx, name, store.SleepStep)
	if err != nil {
		return err
	}
	defer s.leave()
	if s.recorded == nil || s.recorded.Status != store.StepSucceeded {
		if err := s.beginSleep(ctx, max(d, 0)); err != nil {
			return err
		}
	}
	return s.call.waitUntil(ctx, s.recorded.at.Add(s.recorded.WakeIn))
}

func (s *step) beginSleep(ctx context.Context, d time.Duration) error {
	a := s.newAttempt()
	if err := s.call.begin(ctx, a); err != nil {
		return err
	}
	defer s.call.done(a)
	c := a.success(nil)
	c.WakeIn = &d
	recorded, err := s.checkpoint(c)
	if err != nil {
		return s.unrecorded(err)
	}
	s.remember(recorded)
	return nil
}

// unrecorded ends what cannot be recorded, and is no attempt that could have failed.
func (s *step) unrecorded(err error) error {
	var refused *failure
	if errors.As(err, &refused) {
		return s.call.doom(refused.err)
	}
	return s.call.run.lost(err)
}

// waitUntil waits for a time of the monotonic clock. A long wait parks the run, once no other goroutine of it is in a step.
func (c *call) waitUntil(ctx context.Context, at time.Time) error {
	left := time.Until(at)
	switch {
	case left <= 0:
		return nil
	case left > c.run.env.ParkAfter:
		return c.park(ctx, at)
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done(): // perhaps because another goroutine parks the run
		c.wakeBy(at)
		return context.Cause(ctx)
	case <-c.run.env.Draining:
		c.interrupt(errDraining)
		return errDraining
	}
}

// park interrupts the call; the run is suspended when its function has returned. Another goroutine that reaches a step after that
// is refused, and the function is called again at once: so park is patient with a run in which other steps come and go, and
// more patient each time it was not patient enough.
func (c *call) park(ctx context.Context, at time.Time) error {
	for {
		flying, changed := c.run.inFlight()
		var quiet <-chan time.Time
		var timer *time.Timer
		if flying == 0 {
			timer = time.NewTimer(c.patience)
			quiet = timer.C
		}
		select {
		case <-quiet:
			if c.beginParking(at) {
				c.interrupt(errParked)
				return errParked
			}
		case <-changed:
		case <-ctx.Done():
			if timer != nil {
				timer.Stop()
			}
			c.wakeBy(at)
			return context.Cause(ctx)
		case <-c.run.env.Draining:
			c.interrupt(errDraining)
			return errDraining
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// beginParking refuses further steps, unless one is in flight.
func (c *call) beginParking(at time.Time) bool {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if len(c.run.attempts) > 0 {
		return false
	}
	if c.wakeAt.IsZero() || at.Before(c.wakeAt) {
		c.wakeAt = at
	}
	return true
}

// wakeBy makes a run that is parking wake at the earliest of its waits.
func (c *call) wakeBy(at time.Time) {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if !c.wakeAt.IsZero() && at.Before(c.wakeAt) {
		c.wakeAt = at
	}
}

// begin says whether something new may begin, and counts it as in flight until done: the run is not parked before.
func (c *call) begin(ctx context.Context, a *attempt) error {
	r := c.run
	if isClosed(r.env.Draining) {
		c.interrupt(errDraining)
		return errDraining
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.wakeAt.IsZero() {
		c.refused = true
		return errParked
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	r.attempts = append(r.attempts, a)
	r.inFlightChanged()
	return nil
}

func (c *call) done(a *attempt) {
	r := c.run
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.attempts {
		if r.attempts[i] == a {
			r.attempts[i] = r.attempts[len(r.attempts)-1]
			r.attempts = r.attempts[:len(r.attempts)-1]
			break
		}
	}
	r.inFlightChanged()
}

// inFlightChanged expects mu to be held.
func (r *Run) inFlightChanged() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// inFlight returns how many steps are, and a channel that is closed when that changes.
func (r *Run) inFlight() (n int, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return len(r.attempts), r.changed
}

// awaitAttempts returns when no step is in flight, or the run is lost.
func (r *Run) awaitAttempts() {
	for {
		n, changed := r.inFlight()
		if n == 0 {
			return
		}
		select {
		case <-changed:
		case <-r.own.Done():
			return
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
