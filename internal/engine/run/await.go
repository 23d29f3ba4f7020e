package run

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Wait is what a step waits for that somebody sends.
type Wait struct {
	Step    string // its name
	Kind    store.StepKind
	Signal  string          // its name; "": that of the step's key after its kind, as in approval:<key>
	Timeout time.Duration   // from when the step is first reached; 0: for ever
	Request json.RawMessage // what is asked for, kept with the open step; nil: nothing in particular
	// Accept says whether a signal is what the step waits for, given the request as it was recorded, and must always say the same; nil: any.
	// What it refuses stays unread.
	Accept func(request json.RawMessage, signal store.Signal) bool
}

// A lookout looks for the signal that a step waits for.
type lookout struct {
	step     *step
	name     string // of the signal
	accept   func(request json.RawMessage, signal store.Signal) bool
	examined int64 // the newest signal that was refused: what is refused once always is
	seen     int64 // the run's wake_seq at the last look, and so as of which nothing has come
}

// find returns the oldest signal that answers the step and that no step has taken. It calls code of the application, which may
// take its time or panic, and so holds no lock meanwhile.
func (l *lookout) find() (store.Signal, bool) {
	s, r := l.step, l.step.call.run
	r.mu.Lock()
	l.seen = r.inbox.seen
	unread := r.inbox.since(l.name, l.examined)
	until, bounded := r.inbox.until[s.key]
	r.mu.Unlock()
	for _, signal := range unread {
		late := bounded && signal.SentAt.After(until)
		if !late && (l.accept == nil || l.accept(s.request(), signal)) {
			return signal, true
		}
		l.examined = signal.Seq
	}
	return store.Signal{}, false
}

// request is what was asked for when the step was recorded.
func (s *step) request() json.RawMessage {
	if s.recorded == nil {
		return nil
	}
	return s.recorded.Request
}

// arrived reports whether somebody has completed the step from outside, or its children have ended.
func (s *step) arrived() bool {
	r := s.call.run
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inbox.arrived[s.key] != nil
}

// Await returns the payload of the oldest signal of its name that no step has taken, which the step takes then, or waits for
// one. After the timeout the step fails with code "timeout", unless a signal was acknowledged before.
func Await(ctx context.Context, w Wait) (json.RawMessage, error) {
	s, err := enter(ctx, w.Step, w.Kind)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.recall(); err != nil {
		return nil, err
	}
	if w.Signal == "" {
		w.Signal = string(w.Kind) + ":" + s.key
	}
	if s.recorded == nil || !s.recorded.hasEnded() {
		if err := s.await(ctx, w); err != nil {
			return nil, err
		}
	}
	defer s.forget()
	return s.outcome()
}

// await waits until the step has ended. A wait that has an end, or asks somebody, is recorded first.
func (s *step) await(ctx context.Context, w Wait) error {
	if s.unopened() && (w.Timeout > 0 || w.Request != nil) {
		schedule := &store.Schedule{Request: w.Request}
		if w.Timeout > 0 {
			schedule.WakeIn = &w.Timeout
		}
		if err := s.schedule(ctx, schedule); err != nil {
			return err
		}
	}
	open := &wait{causes: []string{signalCause + w.Signal}}
	if s.recorded != nil { // anybody may complete it
		open.causes = append(open.causes, stepCause+s.key)
		if s.recorded.WakeIn != 0 || !s.recorded.WakeAt.IsZero() { // what was recorded counts, whatever the function would say today
			open.at = s.recorded.at.Add(s.recorded.WakeIn)
		}
	}
	l := &lookout{step: s, name: w.Signal, accept: w.Accept}
	for s.recorded == nil || !s.recorded.hasEnded() {
		var signal store.Signal
		var found bool
		err := s.call.wait(ctx, open, func() bool {
			signal, found = l.find()
			return found || s.arrived()
		})
		if err == nil {
			err = s.takeSignal(ctx, l, signal, found)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unopened reports whether the step does not wait yet: it is new, or Resume has set it back.
func (s *step) unopened() bool { return s.recorded == nil || s.recorded.Status == store.StepPending }

// takeSignal ends the step with a signal, unless another branch has taken it meanwhile, or with the time-out. That holds only if
// nothing has come since the last look: else the step stays as it is, and the next look is due.
func (s *step) takeSignal(ctx context.Context, l *lookout, signal store.Signal, found bool) error {
	r := s.call.run
	a := s.newAttempt()
	if err := s.call.begin(ctx, a); err != nil {
		return err
	}
	defer s.call.done(a)
	r.mu.Lock()
	arrived := r.inbox.arrived[s.key]
	delete(r.inbox.arrived, s.key)
	taken := arrived == nil && found && r.inbox.take(signal)
	r.mu.Unlock()
	switch {
	case arrived != nil:
		s.remember(arrived.step)
		return nil
	case taken:
		err := s.close(a, &store.Take{Result: signal.Payload, SignalSeq: signal.Seq})
		if err == nil && s.recorded.SignalSeq != signal.Seq { // somebody was faster, from outside
			r.mu.Lock()
			defer r.mu.Unlock()
			r.inbox.giveBack(signal)
		}
		return err
	case found: // by another branch, first
		return nil
	default:
		return s.close(a, &store.Take{WakeSeq: &l.seen, Err: &store.Error{
			Code: codeTimeout, Message: "nothing came in time: signal " + l.name,
		}})
	}
}

// Poll is Await without waiting: it returns the payload of the oldest signal, if there is one. What it found is recorded, be it
// nothing.
func Poll(ctx context.Context, name, signal string) (payload json.RawMessage, found bool, err error) {
	s, err := enter(ctx, name, store.PollStep)
	if err != nil {
		return nil, false, err
	}
	defer s.leave()
	if err := s.recall(); err != nil {
		return nil, false, err
	}
	for s.recorded == nil {
		if err := s.poll(ctx, signal); err != nil {
			return nil, false, err
		}
	}
	defer s.forget()
	payload, err = s.outcome()
	return payload, s.recorded.SignalSeq > 0, err
}

func (s *step) poll(ctx context.Context, signal string) error {
	c, r := s.call, s.call.run
	w := &wait{causes: []string{signalCause + signal}}
	if err := c.open(w); err != nil {
		return err
	}
	defer c.shut(w)
	for {
		_, changed := r.inFlight()
		if err := c.look(); err != nil {
			return r.lost(err)
		}
		r.mu.Lock()
		unsure := r.inbox.unsure()
		r.mu.Unlock()
		if !unsure {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	a := s.newAttempt()
	if err := c.begin(ctx, a); err != nil {
		return err
	}
	defer c.done(a)
	r.mu.Lock()
	var taken store.Signal
	unread := r.inbox.since(signal, 0)
	if len(unread) > 0 {
		taken = unread[0]
		r.inbox.take(taken)
	}
	seen := r.inbox.seen
	r.mu.Unlock()
	if len(unread) > 0 {
		return s.close(a, &store.Take{Result: taken.Payload, SignalSeq: taken.Seq})
	}
	return s.close(a, &store.Take{Result: json.RawMessage("null"), WakeSeq: &seen})
}

// schedule records that the step waits for others, which it does from then on.
func (s *step) schedule(ctx context.Context, row *store.Schedule) error {
	r := s.call.run
	a := s.newAttempt()
	if err := s.call.begin(ctx, a); err != nil {
		return err
	}
	defer s.call.done(a)
	row.Owned, row.Name, row.Kind, row.Seq, row.Took = r.owned, s.key, s.kind, s.seq, time.Since(a.started)
	row.Again = s.recorded != nil
	outcome, err := r.persist(row)
	if err != nil {
		return s.unrecorded(asFailure(err))
	}
	recorded := newRecord(row.Step())
	if outcome == store.Exists {
		if recorded, err = s.read(); err != nil {
			return r.lost(err)
		}
	}
	s.remember(recorded)
	return nil
}

// close records how the step's wait has ended. When something came that the decision did not know of, the step stays open.
func (s *step) close(a *attempt, row *store.Take) error {
	r := s.call.run
	row.Owned, row.Name, row.Kind, row.Seq, row.Took = r.owned, s.key, s.kind, s.seq, time.Since(a.started)
	if s.recorded != nil {
		row.ChildID = s.recorded.ChildID
	}
	outcome, err := r.persist(row)
	switch {
	case err != nil:
		return s.unrecorded(asFailure(err))
	case outcome == store.Woken:
		r.Woken()
		return nil
	case outcome == store.Exists: // somebody has completed the step from outside
		recorded, err := s.read()
		if err != nil {
			return r.lost(err)
		}
		s.remember(recorded)
		return nil
	default:
		taken := row.Step()
		taken.Request = s.request()
		s.remember(newRecord(taken))
		return nil
	}
}

// asFailure makes a refusal of the server the run's failure: what cannot be recorded can never be.
func asFailure(err error) error {
	if isRefusal(err) {
		return &failure{err: refused(err), final: true}
	}
	return err
}
