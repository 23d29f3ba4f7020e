package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Misuse of a step.
var (
	ErrOutsideRun    = errors.New("a step was reached outside a run: pass on the context that the workflow got")
	ErrRunEnded      = errors.New("a step was reached after the workflow's function had returned")
	ErrStepNested    = errors.New("a step was reached inside another step")
	ErrStepAmbiguous = errors.New("a step was reached while another of the same name is in flight; " +
		"give goroutines a Branch each")
	ErrTooManySteps = errors.New("the run has too many steps")
)

// A scope numbers the repeated names of one branch of a run. The fields are guarded by the run's mu.
type scope struct {
	run    *run
	prefix string // of the keys: "" or "branch/"
	names  map[string]use
}

// use is how a name was used so far.
type use struct {
	reached  int // how often
	inFlight bool
}

type (
	scopeKey struct{} // carries a *scope
	stepKey  struct{} // carries a *current, inside a step
)

// current is what a step's context tells about the step.
type current struct {
	run     *run
	key     string
	attempt int
}

func (s *scope) on(ctx context.Context) context.Context { return context.WithValue(ctx, scopeKey{}, s) }

// branch returns the scope of a prefix; branches of one key share one.
func (r *run) branch(prefix string) *scope {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.branches[prefix]
	if s == nil {
		s = &scope{run: r, prefix: prefix}
		if r.branches == nil {
			r.branches = make(map[string]*scope)
		}
		r.branches[prefix] = s
	}
	return s
}

// Branch returns a context in which step names are counted by themselves and stored as key/name. Outside a run it is ctx.
func Branch(ctx context.Context, key string) context.Context {
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		return ctx
	}
	return s.run.branch(s.prefix + key + "/").on(ctx)
}

// enter gives a step its key and takes its name until leave.
func enter(ctx context.Context, name string) (s *scope, key string, err error) {
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		return nil, "", ErrOutsideRun
	}
	if ctx.Value(stepKey{}) != nil {
		return nil, "", Final(ErrStepNested)
	}
	r := s.run
	r.mu.Lock()
	defer r.mu.Unlock()
	used := s.names[name]
	key = s.prefix + name
	if used.reached > 0 {
		key += "#" + strconv.Itoa(used.reached)
	}
	recorded := r.recorded[key]
	switch {
	case r.ended:
		return nil, "", ErrRunEnded
	case used.inFlight:
		return nil, "", ErrStepAmbiguous
	case len(key) > maxKey:
		return nil, "", fmt.Errorf("step key %.32q… has %d bytes, at most %d", key, len(key), maxKey)
	case len(r.recorded) >= r.worker.config.MaxSteps && recorded == nil:
		return nil, "", fmt.Errorf("%w: %d", ErrTooManySteps, len(r.recorded))
	}
	if s.names == nil {
		s.names = make(map[string]use)
	}
	s.names[name] = use{reached: used.reached + 1, inFlight: true}
	if recorded != nil {
		if !recorded.reached && hasEnded(&recorded.Step) {
			r.ahead--
		}
		recorded.reached = true
	}
	return s, key, nil
}

// maxKey is the longest key of a step, in bytes.
const maxKey = 1024

func (s *scope) leave(name string) {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	s.names[name] = use{reached: s.names[name].reached}
}

// RunID returns the id of the run that ctx carries, "" when it carries none.
func RunID(ctx context.Context) string {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.run.id
	}
	return ""
}

// StepKey returns the key of the step that ctx carries, and which attempt of it this is, from 1; "" outside a step.
func StepKey(ctx context.Context) (key string, attempt int) {
	if c, ok := ctx.Value(stepKey{}).(*current); ok {
		return c.key, c.attempt
	}
	return "", 0
}
