package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/sqlworkflow/workflow/store"
)

// Misuse of a step.
var (
	ErrOutsideRun       = errors.New("outside a run: pass on the context that the workflow's function got")
	ErrFunctionReturned = errors.New("after the workflow's function had returned: wait for its goroutines")
	ErrStepNested       = errors.New("inside another step: a step's function must not reach steps")
	ErrBranchBusy       = errors.New("while another step of the same branch is in flight: " +
		"give goroutines a Branch each, and reach no step inside another")
	ErrTooManySteps = errors.New("the run has too many steps")
)

// A scope is one branch of a run in one call: it numbers repeated names, and has one step in flight at a time. Its fields are
// guarded by the run's mu.
type scope struct {
	call   *call
	prefix string         // of the keys: "" or "branch/"
	names  map[string]int // how often each was reached
	busy   string         // the step in flight, by key
}

type (
	scopeKey   struct{} // carries a *scope
	attemptKey struct{} // carries an *attempt, inside a step
)

func (s *scope) on(ctx context.Context) context.Context { return context.WithValue(ctx, scopeKey{}, s) }

func scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
}

// branch returns the scope of a prefix; branches of one key share one.
func (c *call) branch(prefix string) *scope {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	s := c.branches[prefix]
	if s == nil {
		s = &scope{call: c, prefix: prefix}
		if c.branches == nil {
			c.branches = make(map[string]*scope)
		}
		c.branches[prefix] = s
	}
	return s
}

// Branch returns a context in which step names are counted by themselves and stored as key/name. Outside a run it is ctx.
func Branch(ctx context.Context, key string) context.Context {
	s := scopeOf(ctx)
	if s == nil {
		return ctx
	}
	return s.call.branch(s.prefix + key + "/").on(ctx)
}

// enter gives a step its key and its place, and takes the branch until leave. What does not match the record is noticed here,
// before anything of the step happens.
func enter(ctx context.Context, name string, kind store.StepKind) (*step, error) {
	s := scopeOf(ctx)
	switch {
	case s == nil:
		return nil, misuse(name, ErrOutsideRun)
	case ctx.Value(attemptKey{}) != nil:
		return nil, Final(misuse(name, ErrStepNested))
	}
	c, r := s.call, s.call.run
	r.mu.Lock()
	defer r.mu.Unlock()
	key := s.prefix + name
	if n := s.names[name]; n > 0 {
		key += "#" + strconv.Itoa(n)
	}
	recorded := r.recorded[key]
	switch {
	case c.closed:
		return nil, misuse(key, ErrFunctionReturned)
	case c.mismatch != nil:
		return nil, c.mismatched(c.mismatch)
	case s.busy != "":
		return nil, Final(fmt.Errorf("%w (%q)", misuse(key, ErrBranchBusy), s.busy))
	case len(key) > maxKey:
		return nil, fmt.Errorf("workflow: step %.32q…: its key has %d bytes, at most %d", key, len(key), maxKey)
	case recorded == nil && c.ahead[s.prefix] > 0:
		return nil, c.mismatched(mismatch("step %q is not recorded, and was reached before recorded steps: %s", key, c.unreachedKeys(s.prefix)))
	case recorded != nil && recorded.Seq > 0 && recorded.Kind != kind:
		return nil, c.mismatched(mismatch("step %q is recorded as %s and was reached as %s", key, recorded.Kind.Describe(), kind.Describe()))
	case recorded == nil && len(r.recorded) >= r.env.MaxSteps:
		return nil, fmt.Errorf("workflow: step %q: %w: %d (see Config.MaxSteps)", key, ErrTooManySteps, len(r.recorded))
	}
	if s.names == nil {
		s.names = make(map[string]int)
	}
	s.names[name]++
	s.busy = key
	return c.reach(s, key, kind, recorded), nil
}

// reach notes that the function has come by a key. It expects mu to be held.
func (c *call) reach(s *scope, key string, kind store.StepKind, recorded *record) *step {
	st := &step{call: c, scope: s, key: key, kind: kind, recorded: recorded}
	if recorded != nil && recorded.Seq > 0 {
		st.seq = recorded.Seq
		if countsAsAhead(recorded) && !c.reached[key] {
			c.reached[key] = true
			c.ahead[s.prefix]--
		}
		return st
	}
	c.run.seq++
	st.seq = c.run.seq
	return st
}

// leave lets the branch go on.
func (s *step) leave() {
	s.call.run.mu.Lock()
	defer s.call.run.mu.Unlock()
	s.scope.busy = ""
}

func misuse(name string, problem error) error {
	return fmt.Errorf("workflow: step %q was reached %w", name, problem)
}

// maxKey is the longest key of a step, in bytes.
const maxKey = 1024

// RunID returns the id of the run that ctx carries, "" when it carries none.
func RunID(ctx context.Context) string {
	if s := scopeOf(ctx); s != nil {
		return s.call.run.id
	}
	return ""
}

// InFunction reports whether ctx belongs to a workflow's function, outside its steps.
func InFunction(ctx context.Context) bool { return scopeOf(ctx) != nil && attemptOf(ctx) == nil }

// StepKey returns the key of the step that ctx carries, and which attempt of it this is, from 1; "" outside a step.
func StepKey(ctx context.Context) (key string, attempt int) {
	if a := attemptOf(ctx); a != nil {
		return a.key, a.number
	}
	return "", 0
}

// Logger returns a logger for code that a run calls: with the run, and the step and attempt inside one. It is silent outside a
// run, and in the function while recorded steps are still ahead.
func Logger(ctx context.Context) *slog.Logger {
	s := scopeOf(ctx)
	if s == nil {
		return silent
	}
	r := s.call.run
	if key, number := StepKey(ctx); key != "" {
		return r.env.Observer.Logger(r.id, r.workflow, key, number)
	}
	return slog.New(replayHandler{r.env.Observer.Logger(r.id, r.workflow, "", 0).Handler(), s.call})
}

var silent = slog.New(slog.DiscardHandler)

// A replayHandler is asked anew for each line: a logger that was taken before the replay's end speaks after it.
type replayHandler struct {
	slog.Handler
	call *call
}

func (h replayHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return !h.call.replaying() && h.Handler.Enabled(ctx, level)
}

func (h replayHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return replayHandler{h.Handler.WithAttrs(attrs), h.call}
}

func (h replayHandler) WithGroup(name string) slog.Handler {
	return replayHandler{h.Handler.WithGroup(name), h.call}
}
