package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Options of a step.
type Options struct {
	Retry     store.RetryPolicy // with every field set
	Timeout   time.Duration     // of one attempt; 0: none
	Isolation sql.IsolationLevel
}

// Func is what a step does, on encoded values.
type Func func(context.Context) (json.RawMessage, error)

// TxFunc is what a transactional step does.
type TxFunc func(context.Context, *sql.Tx) (json.RawMessage, error)

// Step returns what the step of this name has recorded; the first time it calls f and records that. A name that is
// reached again becomes name#1, name#2 and so on, in the order of reach. The error of a failed step is an *store.Error,
// the first time too, so that a replay and the first run are the same.
func Step(ctx context.Context, name string, o Options, f Func) (json.RawMessage, error) {
	return do(ctx, name, "", &o, func(ctx context.Context, r *run, key string) (*store.Step, error) {
		result, err := call(func() (json.RawMessage, error) { return f(ctx) })
		if err != nil {
			return nil, &attemptError{err}
		}
		return r.checkpoint(store.Checkpoint{Name: key, Result: result})
	})
}

// StepTx is [Step] with a transaction for f, in which the result is recorded: what f writes through it happens exactly
// once.
func StepTx(ctx context.Context, name string, o Options, f TxFunc) (json.RawMessage, error) {
	return do(ctx, name, store.TxStep, &o, func(ctx context.Context, r *run, key string) (*store.Step, error) {
		step, err := r.store.CheckpointTx(ctx, r.owned, key, o.Isolation,
			func(ctx context.Context, tx *sql.Tx) (json.RawMessage, error) {
				return call(func() (json.RawMessage, error) { return f(ctx, tx) })
			})
		if err != nil && !errors.Is(err, store.ErrRunLost) {
			return nil, &attemptError{err} // f's error, or the server's: both leave nothing behind
		}
		return step, err
	})
}

// A try attempts a step once and records its success. What f is to blame for is an *attemptError; anything else ends the
// run here.
type try func(ctx context.Context, r *run, key string) (*store.Step, error)

type attemptError struct{ err error }

func (e *attemptError) Error() string { return e.err.Error() }

// call calls f and makes a panic an error.
func call(f func() (json.RawMessage, error)) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, panicError(p)
		}
	}()
	return f()
}

func do(ctx context.Context, name string, kind store.StepKind, o *Options, once try) (json.RawMessage, error) {
	s, key, err := enter(ctx, name)
	if err != nil {
		return nil, err
	}
	defer s.leave(name)
	r := s.run

	// What is recorded is served before anything is asked of ctx: a replay must not depend on it.
	step, err := r.lookUp(key, kind)
	if err != nil {
		return nil, err
	}
	if step != nil && hasEnded(&step.Step) {
		return outcome(&step.Step)
	}
	recorded, err := r.attempts(ctx, key, kind, step, o, once)
	if err != nil {
		return nil, err
	}
	return outcome(recorded)
}

// lookUp returns what is recorded under the key, nil for nothing, and an error when that is a step of another kind.
func (r *run) lookUp(key string, kind store.StepKind) (*record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step := r.recorded[key]
	if step != nil && step.Kind != kind && (step.Status == store.StepSucceeded || step.Kind != "") {
		names := map[store.StepKind]string{"": "a plain step", store.TxStep: "a transactional step", store.SleepStep: "a sleep"}
		err := nondeterministic("step %q is recorded as %s and was reached as %s", key, names[step.Kind], names[kind])
		return step, err
	}
	return step, nil
}

// takeOff says whether something new may begin, and counts it as in flight until land: the run is not parked before.
func (r *run) takeOff(ctx context.Context) error {
	if isClosed(r.worker.lease.draining) {
		r.pause(errDraining)
		return errDraining
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.wakeAt.IsZero() {
		r.refused = true
		return errParked
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	r.fly(+1)
	return nil
}

func (r *run) land() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fly(-1)
}

// An attemptContext ends as its own context does, and carries what another one carries.
type attemptContext struct {
	context.Context
	values context.Context
}

func (c attemptContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}

// attemptContext returns the context of one attempt: it carries what ctx does and ends with it, but not with a pause of the
// run, which lets steps finish.
func (r *run) attemptContext(
	ctx context.Context, c *current, timeout time.Duration,
) (context.Context, context.CancelFunc) {
	own, cancel := context.WithCancelCause(r.own)
	attempt := context.WithValue(attemptContext{own, ctx}, stepKey{}, c)
	stopCtx, stopTimeout := func() bool { return true }, func() {}
	if ctx.Done() != r.bodyDone || r.deadline != nil { // it can end by more than a pause
		stopCtx = context.AfterFunc(ctx, func() {
			if !r.paused() {
				cancel(context.Cause(ctx))
			}
		})
	}
	if timeout > 0 {
		attempt, stopTimeout = context.WithTimeoutCause(attempt, timeout, errStepTimeout)
	}
	return attempt, func() {
		stopTimeout()
		stopCtx()
		cancel(nil)
	}
}

var errStepTimeout = &store.Error{Code: "step_timeout", Message: "the attempt took longer than the step's timeout"}

// checkpoint records the success of a step and returns what is recorded, which is an earlier success if there was one. It
// goes with what other runs write unless there may be a row of the step: of a failed attempt, or of this write, whose
// answer was lost.
func (r *run) checkpoint(c store.Checkpoint) (step *store.Step, err error) {
	c.Owned = r.owned
	r.mu.Lock()
	_, exists := r.recorded[c.Name]
	r.mu.Unlock()
	err = r.persist(func(ctx context.Context) error {
		if !exists {
			exists = true
			if written, err := r.worker.engine.writer.write(ctx, &c); err != nil || written {
				step = c.Step()
				return err
			}
		}
		step, err = r.store.Checkpoint(ctx, &c)
		return err
	})
	if store.IsRejected(err) { // the result cannot be stored, and never will be
		err = &attemptError{Final(err)}
	}
	return step, err
}

func (r *run) remember(key string, step *store.Step) *record {
	recorded := &record{Step: *step, at: time.Now(), reached: true}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recorded[key] = recorded
	return recorded
}

// outcome is what a step returns: the same the first time and in every replay.
func outcome(step *store.Step) (json.RawMessage, error) {
	if step.Status != store.StepFailed {
		return step.Result, nil
	}
	var stored *store.Error
	if errors.As(step.Err, &stored) {
		named := *stored
		named.Step = step.Name
		return nil, &named
	}
	return nil, step.Err
}
