package workflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/engine/run"
)

// Call starts a run of w, waits until it has ended, and returns its output. It is a step of the calling run, under name: when the
// function is called again, that run is not started again. While it waits the calling run is a row, and takes no slot: one process
// with Config.Concurrency 1 can execute both.
//
// The run is executed by a worker that knows w, in this process or another. It has a run id of its own, which stands in the
// calling run's step (Step.ChildID). A run that failed is a *[RunError], so errors.Is works on the [Code] that it failed with; one
// that was cancelled is ErrRunCancelled. [State.Cancel] of the calling run cancels it too, unless it was called with [Abandon],
// and [State.Resume] of the calling run resumes it if it is what failed. At most 32 runs call each other in a chain.
//
// The input is that of the first call: what the function would give the next time is not looked at.
func Call[In, Out any](ctx context.Context, name string, w *Workflow[In, Out], in In, options ...CallOption) (Out, error) {
	var out Out
	children, err := childrenOf(ctx, name, w, []In{in}, options)
	if err != nil {
		return out, err
	}
	child, err := run.Call(ctx, name, children)
	if err != nil {
		return out, stepError(err)
	}
	result := resultOf[Out](child)
	return result.Value, result.Err
}

// CallAll is [Call] for many inputs at once: it starts a run for each of them, by one statement, and waits until all have ended, of which
// the calling run is told once. The results are in the order of the inputs, of which there must be as many each time. A run that
// failed does not stop the others: its Result has an Err. The error of CallAll itself is about the calling run. Once all have ended the
// step has succeeded, with the failures among its results: [State.Resume] of the calling run does not resume those.
//
// The outputs of all together are one result, of a step. Where they are large, let the runs store what they make.
func CallAll[In, Out any](
	ctx context.Context, name string, w *Workflow[In, Out], inputs []In, options ...CallOption,
) ([]Result[Out], error) {
	children, err := childrenOf(ctx, name, w, inputs, options)
	if err != nil {
		return nil, err
	}
	if len(inputs) == 0 && serviceOf(ctx) != nil {
		return []Result[Out]{}, nil // there is nothing to record
	}
	ended, err := run.CallAll(ctx, name, children)
	if err != nil {
		return nil, stepError(err)
	}
	results := make([]Result[Out], len(ended))
	for i := range ended {
		results[i] = resultOf[Out](ended[i])
	}
	return results, nil
}

// Spawn starts a run of w and does not wait for it. It is a step of the calling run, under name: when the function is called again, the
// handle is to the same run. When the calling run is cancelled this one is too, unless it was spawned with [Abandon].
//
// The handle's Result is for others than the calling run, which would keep its slot while it waits and of which nothing is recorded: a
// function that needs the result uses [Call].
func Spawn[In, Out any](
	ctx context.Context, name string, w *Workflow[In, Out], in In, options ...CallOption,
) (*Handle[Out], error) {
	children, err := childrenOf(ctx, name, w, []In{in}, options)
	if err != nil {
		return nil, err
	}
	ids, err := run.Spawn(ctx, name, children)
	if err != nil {
		return nil, stepError(err)
	}
	return &Handle[Out]{shared: serviceOf(ctx), workflow: w.name, runID: ids[0]}, nil
}

// DefineStep is [Define] for a workflow that is one step of the same name: f is called as by [Do], with its options. Call it from
// other workflows to have the step executed by another process, which registers it.
//
// It panics on a name that no step can have, as that is a mistake in the program.
func DefineStep[In, Out any](
	name string, f func(ctx context.Context, in In) (Out, error), options ...StepOption,
) *Workflow[In, Out] {
	if err := checkStepName(name); err != nil {
		panic(err.Error())
	}
	if f == nil {
		return Define[In, Out](name, nil)
	}
	return Define(name, func(ctx context.Context, in In) (Out, error) {
		return Do(ctx, name, func(ctx context.Context) (Out, error) { return f(ctx, in) }, options...)
	})
}

// Result is how one of the runs of [CallAll] has ended.
type Result[Out any] struct {
	RunID string
	Value Out   // what the run returned, if Err is nil
	Err   error // a *RunError, or ErrRunCancelled
}

func resultOf[Out any](child run.Child) Result[Out] {
	result := Result[Out]{RunID: child.RunID}
	switch child.Status {
	case RunCancelled:
		result.Err = &callError{step: child.Step, err: fmt.Errorf("run %q: %w", child.RunID, ErrRunCancelled)}
	case RunFailed:
		result.Err = &callError{step: child.Step, err: &RunError{RunID: child.RunID, Err: storedError(child.Err)}}
	default:
		if exact[Out]() { // in a list its spaces are ours the first time, and PostgreSQL's in a replay
			child.Output = compacted(child.Output)
		}
		result.Err = decode(fmt.Sprintf("output of run %q as %s", child.RunID, typeName[Out]()), child.Output, &result.Value)
	}
	return result
}

func compacted(text json.RawMessage) json.RawMessage {
	var compact bytes.Buffer
	if json.Compact(&compact, text) != nil { // there is none
		return text
	}
	return compact.Bytes()
}

// callError says which step has called a run that did not complete: what the calling run fails with is that step's failure.
type callError struct {
	step string
	err  error
}

func (e *callError) Error() string { return fmt.Sprintf("step %q: %s", e.step, e.err) }
func (e *callError) Unwrap() error { return e.err }

// A CallOption changes how a run is started by [Call], [CallAll] and [Spawn].
type CallOption interface {
	call(*callOptions)
}

type callOptions struct {
	runOptions
	abandoned bool
}

type callOption func(*callOptions)

func (o callOption) call(to *callOptions) { o(to) }

// Abandon lets the run go on when the one that has started it is cancelled, and one that was called also when that fails; one that was
// spawned does so in any case.
func Abandon() CallOption {
	return callOption(func(o *callOptions) { o.abandoned = true })
}

// childrenOf checks and encodes what is to be started.
func childrenOf[In, Out any](
	ctx context.Context, name string, w *Workflow[In, Out], inputs []In, options []CallOption,
) (run.Children, error) {
	var o callOptions
	for _, option := range options {
		option.call(&o)
	}
	if err := checkStep(ctx, name); err != nil {
		return run.Children{}, err
	}
	err := o.check()
	if err == nil {
		err = checkDecodable[Out]()
	}
	if err != nil {
		return run.Children{}, fmt.Errorf("workflow: step %q: %w", name, err)
	}
	if w == nil {
		return run.Children{}, fmt.Errorf("workflow: step %q: %w: the workflow is nil", name, ErrInvalidArgument)
	}
	if err := checkWorkflowName(w.name); err != nil {
		return run.Children{}, err
	}
	encoded := make([]json.RawMessage, len(inputs))
	for i := range inputs {
		if encoded[i], err = encode(fmt.Sprintf("step %q: input", name), inputs[i], configOf(ctx).PayloadLimit); err != nil {
			return run.Children{}, err
		}
	}
	return run.Children{
		Workflow: w.name, Inputs: encoded, Delay: o.delay, Deadline: o.deadline, Abandoned: o.abandoned, Place: o.place(),
	}, nil
}

// calledIn returns the step that called the run which err is about, "" if it is about none.
func calledIn(err error) string {
	var called *callError
	if errors.As(err, &called) {
		return called.step
	}
	return ""
}
