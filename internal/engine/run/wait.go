package run

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// A wait is what a branch of a call waits for: a time, something that comes, or whichever of the two is first.
type wait struct {
	at     time.Time // zero: however long it takes
	causes []string  // what comes, as [store.Park] has it: signal:<name>, step:<key>; none for a time alone
}

// waitUntil waits for a time of the monotonic clock.
func (c *call) waitUntil(ctx context.Context, at time.Time) error {
	if time.Until(at) <= 0 {
		return nil
	}
	return c.wait(ctx, &wait{at: at}, nil)
}

// wait returns nil once ready says so, which is asked whenever something changes, or when the time of w has come and all that had come
// before was looked at. A wait that may
// be long parks the run, once no other goroutine of it is in a step. Another goroutine that reaches a step after that is refused,
// and the function is called again at once: so wait is patient with a run in which other steps come and go, and more patient
// each time it was not patient enough.
func (c *call) wait(ctx context.Context, w *wait, ready func() bool) error {
	if err := c.open(w); err != nil {
		return err
	}
	defer c.shut(w)
	timer, due := w.timer()
	defer timer.Stop()
	short := len(w.causes) == 0 && time.Until(w.at) <= c.run.env.ParkAfter
	for {
		flying, changed := c.run.inFlight()
		over := due
		if ready != nil && ready() { // a look before has brought it
			return nil
		}
		if !short { // also for a time alone: the run is not parked while something may have come that it does not know of
			if err := c.look(); err != nil {
				return c.run.lost(err)
			}
		}
		if ready != nil {
			if ready() {
				return nil
			}
			if c.run.unsure() {
				over = nil
			}
		}
		quiet := time.NewTimer(c.patience)
		if short || flying > 0 {
			quiet.Stop()
		}
		select {
		case <-over:
		case <-quiet.C:
			if c.beginParking() {
				c.interrupt(errParked)
				return errParked
			}
			continue
		case <-changed:
			quiet.Stop()
			continue
		case <-ctx.Done(): // perhaps because another goroutine parks the run
			quiet.Stop()
			return context.Cause(ctx)
		case <-c.run.env.Draining:
			quiet.Stop()
			c.interrupt(errDraining)
			return errDraining
		}
		quiet.Stop()
		return nil
	}
}

// timer fires when the time of w has come; its channel is nil when there is none.
func (w *wait) timer() (timer *time.Timer, due <-chan time.Time) {
	if w.at.IsZero() {
		timer = time.NewTimer(time.Hour)
		timer.Stop()
		return timer, nil
	}
	timer = time.NewTimer(time.Until(w.at))
	return timer, timer.C
}

// open makes w one of what the run waits for. What is already there of it has to be looked for first, if anything ever came for
// the run; a run that is parking would not, and is called again.
func (c *call) open(w *wait) error {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if len(w.causes) > 0 {
		if c.parking {
			c.refused = true
			return errParked
		}
		c.run.inbox.expect(w.causes)
	}
	if c.waits == nil {
		c.waits = make(map[*wait]bool)
	}
	c.waits[w] = true
	return nil
}

// shut ends a wait. A run that is parking goes on waiting for it.
func (c *call) shut(w *wait) {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if !c.parking {
		delete(c.waits, w)
	}
}

// beginParking refuses further steps, unless one is in flight or something has come.
func (c *call) beginParking() bool {
	r := c.run
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.attempts) > 0 || r.inbox.unsure() {
		return false
	}
	c.parking = true
	return true
}

// parkRow is what the run is parked with. It expects mu to be held.
func (c *call) parkRow() *store.Park {
	park := &store.Park{Owned: c.run.owned, For: store.ForTime, WakeSeq: c.run.inbox.seen}
	var at time.Time
	causes := make(map[string]bool)
	for w := range c.waits {
		if !w.at.IsZero() && (at.IsZero() || w.at.Before(at)) {
			at = w.at
		}
		for _, cause := range w.causes {
			causes[cause] = true
		}
	}
	if !at.IsZero() {
		in := max(0, time.Until(at))
		park.WakeIn = &in
	}
	for cause := range causes {
		park.WaitsFor = append(park.WaitsFor, cause)
		if strings.HasPrefix(cause, signalCause) {
			park.For = store.ForSignal
		} else if park.For == store.ForTime {
			park.For = store.ForChildren
		}
	}
	slices.Sort(park.WaitsFor)
	return park
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
	if c.parking {
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
