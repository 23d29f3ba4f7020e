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

// accept is Accept for the step as it is recorded.
func (w *Wait) accept(recorded *record) func(store.Signal) bool {
	switch {
	case w.Accept == nil:
		return nil
	case recorded == nil:
		return func(signal store.Signal) bool { return w.Accept(nil, signal) }
	default:
		return func(signal store.Signal) bool { return w.Accept(recorded.Request, signal) }
	}
}

// Await returns the payload of the oldest signal of its name that no step has taken, which the step takes then, or waits for
// one. After the timeout the step fails with code "timeout", unless a signal was acknowledged before.
func Await(ctx context.Context, w Wait) (json.RawMessage, error) {
	s, err := enter(ctx, w.Step, w.Kind)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if w.Signal == "" {
		w.Signal = string(w.Kind) + ":" + s.key
	}
	if s.recorded == nil || !hasEnded(&s.recorded.Step) {
		if err := s.await(ctx, w); err != nil {
			return nil, err
		}
	}
	return s.outcome()
}

// await waits until the step has ended. A wait that has an end, or asks somebody, is recorded first.
func (s *step) await(ctx context.Context, w Wait) error {
	if s.recorded == nil && (w.Timeout > 0 || w.Request != nil) {
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
		if w.Timeout > 0 {
			open.at = s.recorded.at.Add(s.recorded.WakeIn)
		}
	}
	r, accept := s.call.run, w.accept(s.recorded)
	for s.recorded == nil || !hasEnded(&s.recorded.Step) {
		err := s.call.wait(ctx, open, func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.inbox.arrived[s.key] != nil || r.inbox.find(w.Signal, accept) >= 0
		})
		if err == nil {
			over := !open.at.IsZero() && !time.Now().Before(open.at) // else another branch may have taken what was there
			err = s.takeSignal(ctx, w.Signal, accept, over)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeSignal ends the step with a signal, or with the time-out. That holds only if nothing has come since the last look: else the
// step stays as it is, and the next look is due.
func (s *step) takeSignal(ctx context.Context, name string, accept func(store.Signal) bool, over bool) error {
	r := s.call.run
	a := s.newAttempt()
	if err := s.call.begin(ctx, a); err != nil {
		return err
	}
	defer s.call.done(a)
	r.mu.Lock()
	arrived := r.inbox.arrived[s.key]
	delete(r.inbox.arrived, s.key)
	var signal store.Signal
	found := false
	if arrived == nil {
		signal, found = r.inbox.take(name, accept)
	}
	seen := r.inbox.seen
	r.mu.Unlock()
	switch {
	case arrived != nil:
		s.remember(&arrived.step)
		return nil
	case found:
		return s.close(a, &store.Take{Result: signal.Payload, SignalSeq: signal.Seq})
	case over:
		return s.close(a, &store.Take{WakeSeq: &seen, Err: &store.Error{
			Code: codeTimeout, Message: "nothing came in time: signal " + name,
		}})
	default:
		return nil
	}
}

// Poll is Await without waiting: it returns the payload of the oldest signal, if there is one. What it found is recorded, be it
// nothing.
func Poll(ctx context.Context, name, signal string) (payload json.RawMessage, found bool, err error) {
	s, err := enter(ctx, name, store.SignalStep)
	if err != nil {
		return nil, false, err
	}
	defer s.leave()
	for s.recorded == nil {
		if err := s.poll(ctx, signal); err != nil {
			return nil, false, err
		}
	}
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
	taken, found := r.inbox.take(signal, nil)
	seen := r.inbox.seen
	r.mu.Unlock()
	if found {
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
	outcome, err := r.persist(row)
	if err != nil {
		return s.unrecorded(asFailure(err))
	}
	recorded := row.Step()
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
		s.remember(row.Step())
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
