package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
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
// and Out travel as JSON, as do the results of steps: a struct without an exported field is refused, as it would come back
// empty. A process that only starts runs, and does not register the workflow, may have nil for fn.
func Define[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error)) *Workflow[In, Out] {
	return &Workflow[In, Out]{name: name, fn: fn}
}

// Name returns the name that the workflow was defined with.
func (w *Workflow[In, Out]) Name() string { return w.name }

// Definition is a [Workflow] of any types, for [Service.Register].
type Definition interface {
	Name() string
	isNil() bool
	body(s *shared) func(context.Context, json.RawMessage) (json.RawMessage, error)
}

func (w *Workflow[In, Out]) isNil() bool { return w.fn == nil }

func (w *Workflow[In, Out]) body(s *shared) func(context.Context, json.RawMessage) (json.RawMessage, error) {
	return func(ctx context.Context, input json.RawMessage) (json.RawMessage, error) {
		var in In
		if err := unmarshal(input, &in); err != nil {
			return nil, fmt.Errorf("decode input as %s: %w", typeName[In](), err)
		}
		out, err := w.fn(context.WithValue(ctx, serviceKey{}, s), in)
		if err != nil {
			return nil, recorded(err)
		}
		return encode("output", out, s.config.PayloadLimit)
	}
}

// typeName names a type, also an interface, whose values do not.
func typeName[T any]() string { return reflect.TypeFor[T]().String() }

// serviceKey is where a run's context carries the service that executes it to its steps.
type serviceKey struct{}

// serviceOf is nil outside a run.
func serviceOf(ctx context.Context) *shared {
	s, _ := ctx.Value(serviceKey{}).(*shared)
	return s
}

func configOf(ctx context.Context) *Config {
	if s := serviceOf(ctx); s != nil {
		return &s.config
	}
	return outside()
}

// outside is the config of a step outside a run, which is refused for that and for nothing else.
var outside = sync.OnceValue(func() *Config {
	config := Config{}.withDefaults()
	return &config
})

// Register makes the service's worker execute runs of the given workflows. It panics on a name that cannot be stored or is
// registered already, and on a nil function, as these are mistakes in the program.
func (s *Service) Register(definitions ...Definition) {
	for _, d := range definitions {
		if err := checkWorkflowName(d.Name()); err != nil {
			panic(err.Error())
		}
		if d.isNil() {
			panic(fmt.Sprintf("workflow: register: workflow %q has a nil function", d.Name()))
		}
		if !s.engine.Register(d.Name(), d.body(s.shared)) {
			panic(fmt.Sprintf("workflow: register: workflow %q is registered already", d.Name()))
		}
	}
}

// A StartOption changes how a run is started by [Workflow.Start].
type StartOption interface {
	start(*startOptions)
}

// A RunOption changes how a run is executed, however it is started: it is for [Workflow.Start] and for [Call], [CallAll] and [Spawn].
type RunOption interface {
	StartOption
	CallOption
}

type (
	startOptions struct {
		runOptions
		chosen     bool
		runID      string
		unique     given
		attributes map[string]string
	}
	runOptions struct {
		delay, deadline  time.Duration
		queue, partition given
		priority         Priority
		ranked           bool // a priority was given
	}
)

type startOption func(*startOptions)

func (o startOption) start(to *startOptions) { o(to) }

type runOption func(*runOptions)

func (o runOption) start(to *startOptions) { o(&to.runOptions) }
func (o runOption) call(to *callOptions)   { o(&to.runOptions) }

func (o runOptions) check() error {
	if o.delay < 0 || o.deadline < 0 {
		return fmt.Errorf("%w: a delay and a deadline must not be negative", ErrInvalidArgument)
	}
	return o.checkPlace()
}

// WithRunID starts the run under an id of the caller's choice, at most 255 bytes. Starting again with the same id,
// workflow and input gives a handle to the same run, so a caller that does not know whether it has started a run may
// simply start it again; with another input it is ErrRunConflict.
func WithRunID(id string) StartOption {
	return startOption(func(o *startOptions) { o.chosen, o.runID = true, id })
}

// WithDelay makes the run wait for d before it is executed, by the database's clock.
func WithDelay(d time.Duration) RunOption {
	return runOption(func(o *runOptions) { o.delay = d })
}

// WithDeadline makes the run fail with [CodeDeadline] when it is not finished within d from its start, by the database's
// clock. A worker that knows the workflow sees to that; [State.Resume] removes the deadline.
func WithDeadline(d time.Duration) RunOption {
	return runOption(func(o *runOptions) { o.deadline = d })
}

// Start creates a run and returns a handle to it. On a [Service] the run is durable when Start returns: it will be executed by
// a worker that knows the workflow, in this process or another, now or after a crash. On [Service.In], in a transaction of the
// application, the run exists if and only if that commits: before the commit, Result of the handle says ErrRunNotFound,
// and after it [Service.Wake] saves the run from waiting for the next poll. The run does not end with ctx.
//
// With [WithRunID] or [WithUnique] the error is ErrRunConflict when a run of that id or key has another workflow or input; with
// [WithQueue] it is ErrQueueNotFound when there is no such queue.
func (w *Workflow[In, Out]) Start(
	ctx context.Context, on Session, in In, options ...StartOption,
) (*Handle[Out], error) {
	s := on.state()
	run, err := s.newRun(ctx, w.name, in, options)
	if err != nil {
		return nil, err
	}
	handle := &Handle[Out]{shared: s.shared, workflow: w.name, runID: run.ID}
	if s.store.Tx() != nil {
		created, err := s.create(ctx, run)
		if err != nil {
			return nil, startError(err, run)
		}
		handle.runID = created.ID
		return handle.of(run)
	}
	if exact[In]() {
		handle.runID, err = s.engine.StartPending(ctx, run)
	} else {
		handle.runID, handle.hold, err = s.engine.Start(ctx, run)
	}
	if err != nil {
		return nil, startError(err, run)
	}
	return handle.of(run)
}

// startError names the key that is in the way; the store names the id, which nobody has chosen.
func startError(err error, run store.NewRun) error {
	if run.Unique != "" && errors.Is(err, ErrRunConflict) {
		return fmt.Errorf("workflow: start a run of %q with the key %q: %w", run.Workflow, run.Unique, ErrRunConflict)
	}
	return err
}

// of refuses a handle to another run than the one whose id was chosen: to the one that has its key.
func (h *Handle[Out]) of(run store.NewRun) (*Handle[Out], error) {
	if run.ID != "" && h.runID != run.ID {
		return nil, fmt.Errorf("workflow: start run %q: %w: run %q has the key %q", run.ID, ErrRunConflict, h.runID, run.Unique)
	}
	return h, nil
}

// Handle returns a handle to a run of this workflow that was started elsewhere. It does no I/O: [Handle.Result] reports it if
// there is no such run, or if it is one of another workflow.
func (w *Workflow[In, Out]) Handle(on Session, runID string) *Handle[Out] {
	return &Handle[Out]{shared: on.state().shared, workflow: w.name, runID: runID}
}
