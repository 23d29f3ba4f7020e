package workflow

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Workflow is a named function whose runs are durable; make one with [Define].
type Workflow[In, Out any] struct {
	name string
	fn   func(context.Context, In) (Out, error)
}

// Define gives a function the name under which its runs are stored. The name outlives the code: rename the function as you
// like, but never the workflow while it has unfinished runs.
//
// fn may be called many times for one run, in this process or another, and each time from the start; its steps ([Do])
// return what they have recorded. So between steps it must do the same each time: no clock, no random numbers, no I/O,
// no state from outside. It gets a context that carries the run and ends when the run is no longer this process's. In
// and Out travel as JSON.
func Define[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error)) *Workflow[In, Out] {
	return &Workflow[In, Out]{name: name, fn: fn}
}

// Name returns the name that the workflow was defined with.
func (w *Workflow[In, Out]) Name() string { return w.name }

// Definition is a [Workflow] of any types.
type Definition interface {
	Name() string
	body(payloadLimit int) func(context.Context, json.RawMessage) (json.RawMessage, error)
}

func (w *Workflow[In, Out]) body(limit int) func(context.Context, json.RawMessage) (json.RawMessage, error) {
	return func(ctx context.Context, input json.RawMessage) (json.RawMessage, error) {
		var in In
		if err := json.Unmarshal(input, &in); err != nil {
			return nil, fmt.Errorf("decode input as %T: %w", in, err)
		}
		out, err := w.fn(context.WithValue(ctx, payloadLimitKey{}, limit), in)
		if err != nil {
			return nil, err
		}
		return encode("output", out, limit)
	}
}

// payloadLimitKey is where a run's context carries the limit to its steps.
type payloadLimitKey struct{}

func payloadLimit(ctx context.Context) int {
	limit, _ := ctx.Value(payloadLimitKey{}).(int)
	return limit
}

// Register makes the service's worker execute runs of the given workflows. It panics on a name that cannot be stored or is
// registered already, as these are mistakes in the program.
func (s *Service) Register(definitions ...Definition) {
	for _, d := range definitions {
		if err := checkWorkflowName(d.Name()); err != nil {
			panic(err.Error())
		}
		if !s.engine.Register(d.Name(), d.body(s.payloadLimit)) {
			panic(fmt.Sprintf("workflow: register: workflow %q is registered already", d.Name()))
		}
	}
}

// A StartOption changes how a run is started.
type StartOption func(*startOptions)

type startOptions struct {
	chosen          bool
	runID           string
	delay, deadline time.Duration
}

// WithRunID starts the run under an id of the caller's choice, at most 255 bytes. Starting again with the same id,
// workflow and input gives a handle to the same run, so a caller that does not know whether it has started a run may
// simply start it again; with another input it is ErrRunConflict.
func WithRunID(id string) StartOption {
	return func(o *startOptions) { o.chosen, o.runID = true, id }
}

// WithDelay makes the run wait for d before it is executed, by the database's clock.
func WithDelay(d time.Duration) StartOption {
	return func(o *startOptions) { o.delay = d }
}

// WithDeadline makes the run fail with code "deadline" when it is not finished within d from its start, by the database's
// clock. A worker that knows the workflow sees to that; [Service.Resume] removes the deadline.
func WithDeadline(d time.Duration) StartOption {
	return func(o *startOptions) { o.deadline = d }
}

// Start creates a run and returns a handle to it. When it returns, the run is durable: it will be executed by a worker that
// knows the workflow, in this process or another, now or after a crash. The run does not end with ctx.
func (w *Workflow[In, Out]) Start(
	ctx context.Context, s *Service, in In, options ...StartOption,
) (*Handle[Out], error) {
	run, err := s.newRun(ctx, w.name, in, options)
	if err != nil {
		return nil, err
	}
	id, watch, err := s.engine.Start(ctx, run)
	if err != nil {
		return nil, err
	}
	return &Handle[Out]{service: s, runID: id, watch: watch}, nil
}

// StartTx is [Workflow.Start] in a transaction of the application, on the same database: the run exists if and only if that
// commits. The handle's Result waits for it; before the commit it says ErrRunNotFound.
func (w *Workflow[In, Out]) StartTx(
	ctx context.Context, s *Service, tx *sql.Tx, in In, options ...StartOption,
) (*Handle[Out], error) {
	run, err := s.newRun(ctx, w.name, in, options)
	if err == nil {
		run, err = withID(run)
	}
	if err != nil {
		return nil, err
	}
	created, err := s.In(tx).store.CreateRun(ctx, run)
	if err != nil {
		return nil, err
	}
	return w.Handle(s, created.ID), nil
}

// Handle returns a handle to a run of this workflow that was started elsewhere. It does no I/O: that there is no such run
// is said by [Handle.Result].
func (w *Workflow[In, Out]) Handle(s *Service, runID string) *Handle[Out] {
	return &Handle[Out]{service: s, runID: runID}
}
