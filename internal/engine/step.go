package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/store"
)

// Misuse of a step.
var (
	ErrOutsideRun    = errors.New("a step was reached outside a run: pass on the context that the workflow got")
	ErrRunEnded      = errors.New("a step was reached after the workflow's function had returned")
	ErrStepNested    = errors.New("a step was reached inside another step")
	ErrStepAmbiguous = errors.New("a step was reached while another of the same name is in flight")
)

type stepKey struct{}

// Step returns what the step of this name has recorded; the first time it calls f and records that. A name that is
// reached again becomes name#1, name#2 and so on, in the order of reach. The error of a failed step is an *store.Error,
// the first time too, so that a replay and the first run are the same.
func Step(
	ctx context.Context, name string, f func(context.Context) (json.RawMessage, error),
) (json.RawMessage, error) {
	r, ok := ctx.Value(runKey{}).(*run)
	if !ok {
		return nil, ErrOutsideRun
	}
	if ctx.Value(stepKey{}) != nil {
		return nil, ErrStepNested
	}
	key, err := r.enter(name)
	if err != nil {
		return nil, err
	}
	defer r.leave(name)

	// What is recorded is served before anything is asked of ctx: a replay must not depend on it.
	if step, ok := r.lookUp(key); ok {
		return outcome(step)
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if r.lease.isDraining() {
		r.cancel(errDraining)
		return nil, errDraining
	}
	return r.perform(ctx, key, f)
}

// enter gives the step its key.
func (r *run) enter(name string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ended:
		return "", ErrRunEnded
	case r.inFlight[name]:
		return "", ErrStepAmbiguous
	}
	r.inFlight[name] = true
	n := r.reached[name]
	r.reached[name]++
	if n == 0 {
		return name, nil
	}
	return fmt.Sprintf("%s#%d", name, n), nil
}

func (r *run) leave(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inFlight, name)
}

func (r *run) lookUp(key string) (store.Step, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step, ok := r.recorded[key]
	ended := step.Status == store.StepSucceeded || step.Status == store.StepFailed
	return step, ok && ended
}

// perform calls f and records how it ended. When the run was lost or interrupted meanwhile, a failure of f is most
// likely that, and is not recorded; a success is, if the guard lets it.
func (r *run) perform(
	ctx context.Context, key string, f func(context.Context) (json.RawMessage, error),
) (json.RawMessage, error) {
	result, err := callStep(context.WithValue(ctx, stepKey{}, key), f)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, cause
	}
	recorded, err := r.checkpoint(ctx, key, result, err)
	if store.IsRejected(err) { // the result cannot be stored, and never will be
		recorded, err = r.checkpoint(ctx, key, nil, err)
	}
	if err != nil {
		r.cancel(err) // nothing more can be recorded under this epoch
		return nil, err
	}
	r.mu.Lock()
	r.recorded[key] = recorded
	r.mu.Unlock()
	return outcome(recorded)
}

// checkpoint records how a step ended: succeeded with result, or failed with failure. It returns what is recorded, which
// is an earlier success if there was one.
func (r *run) checkpoint(
	ctx context.Context, key string, result json.RawMessage, failure error,
) (recorded store.Step, err error) {
	step := store.NewStep{RunID: r.id, Name: key, Status: store.StepSucceeded, Result: result}
	if failure != nil {
		step.Status, step.Result, step.Err = store.StepFailed, nil, store.NewError(failure)
	}
	err = r.persist(ctx, func(ctx context.Context) error {
		recorded, err = r.store.Checkpoint(ctx, r.owned, step)
		return err
	})
	return recorded, err
}

func callStep(
	ctx context.Context, f func(context.Context) (json.RawMessage, error),
) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, panicError(p)
		}
	}()
	return f(ctx)
}

func outcome(step store.Step) (json.RawMessage, error) {
	if step.Status == store.StepFailed {
		return nil, step.Err
	}
	return step.Result, nil
}
