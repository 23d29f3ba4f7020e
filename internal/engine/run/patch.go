package run

import (
	"context"
	"encoding/json"

	"github.com/sqlworkflow/workflow/store"
)

// Patched reports whether a run takes the new way of a change in its function: true for runs that had not come to this place
// before the change, and then for ever, because a marker among the steps says so; false for those that had gone past it. The
// marker's write is repeated until it is acknowledged; if the run stops meanwhile, or name is bad, the next step says so.
// Outside a run the way is the new one.
func Patched(ctx context.Context, name string, bad error) bool {
	s := scopeOf(ctx)
	switch {
	case s == nil:
		return true
	case bad == nil && attemptOf(ctx) != nil:
		bad = misuse(name, ErrStepNested)
	}
	if bad != nil {
		_ = s.call.doom(store.NewError(&store.Error{Code: codeMisuse, Message: bad.Error()}))
		return false
	}
	answer, err := s.askPatch(name)
	return answer && err == nil
}

func (s *scope) askPatch(name string) (bool, error) {
	key := s.prefix + "#" + name // no step has such a key
	if answer, known := s.patched(key); known {
		return answer, nil
	}
	st, err := s.patch(key)
	if err != nil {
		return false, err
	}
	a := &attempt{step: st, number: 1}
	if err := s.call.begin(s.call.ctx, a); err != nil { // a context of the function's own must not decide the answer
		return false, err
	}
	defer s.call.done(a)
	recorded, err := st.checkpoint(&store.Checkpoint{
		Owned: s.call.run.owned, Name: key, Kind: store.PatchStep, Seq: st.seq, Result: json.RawMessage("true"),
	})
	if err != nil {
		return false, st.unrecorded(err)
	}
	st.remember(recorded)
	return true, nil
}

// patched returns the answer if it is known: it is recorded, was given before in this call, or the run had gone past.
func (s *scope) patched(key string) (answer, known bool) {
	c := s.call
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if c.run.recorded[key] != nil {
		return true, true
	}
	if answer, known = c.patches[key]; known {
		return answer, true
	}
	if c.patches == nil {
		c.patches = make(map[string]bool)
	}
	c.patches[key] = c.ahead[s.prefix] == 0
	return false, !c.patches[key]
}

// patch gives the marker its place.
func (s *scope) patch(key string) (*step, error) {
	c := s.call
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	switch {
	case c.closed:
		return nil, misuse(key, ErrFunctionReturned)
	case len(c.run.recorded) >= c.run.env.MaxSteps:
		return nil, misuse(key, ErrTooManySteps)
	}
	return c.reach(s, key, store.PatchStep, nil), nil
}
