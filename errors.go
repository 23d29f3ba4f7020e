package workflow

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/sqlworkflow/workflow/internal/engine"
	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/migrations"
	"github.com/sqlworkflow/workflow/store"
)

// Outcomes and refusals; test for them with [errors.Is].
var (
	// ErrRunNotFound is returned when no run has the given id.
	ErrRunNotFound = store.ErrRunNotFound

	// ErrRunConflict is returned when a run with the given id, or an unfinished one with the given key ([WithUnique]), exists and has
	// another workflow or another input, compared as JSON, or when a handle of one workflow is to a run of another.
	ErrRunConflict = store.ErrRunConflict

	// ErrRunFinished is returned when a step of a completed, failed or cancelled run is written, or a signal is sent to one.
	ErrRunFinished = store.ErrRunFinished

	// ErrRunOwned is returned when the state API writes to a run that a worker executes at this moment.
	ErrRunOwned = store.ErrRunOwned

	// ErrRunLost is the cause of a run's context, and is returned by its steps, when the run was taken from this
	// process: its lease ended, or the run was cancelled. Nothing was written.
	ErrRunLost = store.ErrRunLost

	// ErrRunCancelled is returned by [Handle.Result] and [Call] for a run that was cancelled.
	ErrRunCancelled = errors.New("run was cancelled")

	// ErrStepFinished is returned when a succeeded step would change.
	ErrStepFinished = store.ErrStepFinished

	// ErrQueueNotFound is returned when there is no queue of the given name: call SetQueue or EnsureQueue first, or mend the name.
	ErrQueueNotFound = store.ErrQueueNotFound

	// ErrScheduleNotFound is returned when there is no schedule of the given name.
	ErrScheduleNotFound = store.ErrScheduleNotFound

	// ErrScheduleBusy is returned by [State.TriggerSchedule] when the schedule's last run is not finished and its Overlap is OverlapSkip. Nothing
	// was started; a transaction of the caller stays usable.
	ErrScheduleBusy = store.ErrScheduleBusy

	// ErrUniqueTaken is returned by [State.Resume] of a run whose key ([WithUnique]) another unfinished run of its workflow has
	// meanwhile. A transaction of the application stays usable.
	ErrUniqueTaken = store.ErrUniqueTaken

	// ErrLockTimeout is returned when another transaction held the run, or the queue, for longer than Config.LockTimeout. A
	// transaction of the application stays usable.
	ErrLockTimeout = store.ErrLockTimeout

	// ErrTimeout is returned when the database gave no answer within Config.Timeout. The call may or may not have
	// taken effect. In a workflow's function it is what nobody answered in time: of [Signal.Wait] and [Approval.Ask].
	ErrTimeout = store.ErrTimeout

	// ErrInvalidArgument is returned, before anything reaches the server, for a name, id, status or payload that
	// cannot be stored. The message says which and why.
	ErrInvalidArgument = store.ErrInvalidArgument

	// ErrPayloadTooLarge is returned, before anything reaches the server, for an input, output or result whose
	// JSON is longer than Config.PayloadLimit.
	ErrPayloadTooLarge = errors.New("payload too large")

	// ErrSchemaTooNew is returned by Init when a newer release has marked the schema as unusable for this one:
	// upgrade the library.
	ErrSchemaTooNew = migrations.ErrSchemaTooNew

	// ErrDrift is returned by Init when a table lacks columns that are required, or stands where a migration would
	// create its own. Nothing was changed.
	ErrDrift = migrations.ErrDrift

	// ErrOutsideRun is returned by a step that was reached with a context that does not come from a run.
	ErrOutsideRun = run.ErrOutsideRun

	// ErrFunctionReturned is returned by a step that was reached after the workflow's function had returned. A function must
	// wait for its goroutines.
	ErrFunctionReturned = run.ErrFunctionReturned

	// ErrStepNested is returned by a step that was reached inside another one.
	ErrStepNested = run.ErrStepNested

	// ErrBranchBusy is returned by a step that was reached while another one of the same [Branch] is in flight: a branch has
	// one step at a time. Give goroutines a Branch each, or use [Parallel].
	ErrBranchBusy = run.ErrBranchBusy

	// ErrStartOutsideStep is returned when a run is started by the function of another one outside its steps: it would be
	// started again whenever that function is called again. Use [Call] or [Spawn], which start a run once.
	ErrStartOutsideStep = errors.New("inside a workflow's function, Start would start another run in each replay: " +
		"use Call, which waits for its result, or Spawn, which does not")

	// ErrSendOutsideStep is returned when a signal without a key is sent by the function of a run outside its steps: it would be
	// sent again whenever that function is called again. Send it in a step, or [WithKey].
	ErrSendOutsideStep = errors.New("inside a workflow's function, Send would send another signal in each replay: " +
		"call it in a step, or give the signal a key (WithKey)")

	// ErrTooDeep is returned by a [Call] or [Spawn] of a run that has 32 ancestors.
	ErrTooDeep = run.ErrTooDeep

	// ErrTooManySteps is returned by a step beyond Config.MaxSteps.
	ErrTooManySteps = run.ErrTooManySteps

	// ErrInterrupted is returned by every step while its run stops in this process: it is parked, its worker is stopping, it
	// was lost ([ErrRunLost] too then), or its code does not match its record. It is no outcome of the work: return it.
	ErrInterrupted = run.ErrInterrupted

	// ErrWorking is returned by [Service.Work] while the service works already.
	ErrWorking = engine.ErrWorking

	// ErrClosed is returned by every call on a service after Close.
	ErrClosed = errors.New("service is closed")
)

// TransitionError is returned when a run's status may not change as asked. Nothing was written. Its fields are RunID, and the
// statuses From, which the run has, and To, which was asked for.
type TransitionError = store.TransitionError

// Code tells programs what an [Error] is about: a string, and an error itself, so that one compares with errors.Is:
//
//	if errors.Is(err, workflow.CodeDeadline) { … }
//
// Applications add codes of their own: Code("card_declined").
type Code = store.Code

// The codes of failures that are found here.
const (
	CodePanic            Code = "panic"            // the code of the application panicked; Error.Stack says where
	CodeGoexit           Code = "goexit"           // it ended its goroutine (runtime.Goexit) instead of returning
	CodeDeadline         Code = "deadline"         // the run was not finished by its deadline
	CodeStepTimeout      Code = "step_timeout"     // an attempt took longer than WithAttemptTimeout allows
	CodeTimeout          Code = "timeout"          // what a step waited for did not come in time
	CodeCancelled        Code = "cancelled"        // of a step: the run that it waited for was cancelled (ErrRunCancelled)
	CodeDeleted          Code = "deleted"          // the run that a step waited for was deleted
	CodeCrashLoop        Code = "crash_loop"       // the workers that executed the run died, ten times without a new step
	CodeNondeterministic Code = "nondeterministic" // the workflow's function does not do what it did before
	CodeHistory          Code = "history"          // the steps of the run cannot be loaded
	CodeMisuse           Code = "misuse"           // a rule of this package was broken; the message says which
	CodeRefused          Code = "refused"          // the database refuses what is to be recorded; the message says why
)

// Error is an error as the database keeps it. Steps and runs fail with one, whatever error the code returned; return one to set
// the code, which survives:
//
//	return &workflow.Error{Code: "card_declined", Message: "the bank said no"}
//
// and match on it with errors.Is(err, workflow.Code("card_declined")). Message and Code are cut to 8 KiB and 255 bytes, Stack to
// 32 KiB; what PostgreSQL cannot store in a text is replaced.
type Error struct {
	Message string `json:"message"`
	Code    Code   `json:"code,omitempty"`  // for programs; "" for none
	Stack   string `json:"stack,omitempty"` // where a panic came from
	Step    string `json:"step,omitempty"`  // the step that failed, when a run failed with a step's error
}

// Error returns the message, or the code when there is none.
func (e *Error) Error() string {
	switch {
	case e == nil: // in an error that is not nil: a mistake that must not hide a failure
		return "<nil>"
	case e.Message == "":
		return string(e.Code)
	default:
		return e.Message
	}
}

// Is reports whether target is this error's [Code], or an *Error with the same code, which must not be empty.
func (e *Error) Is(target error) bool {
	if e == nil || e.Code == "" {
		return false
	}
	switch target := target.(type) {
	case Code:
		return target == e.Code
	case *Error:
		return target != nil && target.Code == e.Code
	default:
		return false
	}
}

// stored returns the error as the store has it.
func (e *Error) stored() *store.Error {
	if e == nil {
		return nil
	}
	return &store.Error{Message: e.Message, Code: string(e.Code), Stack: e.Stack, Step: e.Step}
}

// recorded lets the engine find the parts of an *Error in the chain of an error of the application. It calls methods of that
// error, so it belongs in the code that the engine guards.
func recorded(err error) error {
	var own *Error
	var code Code
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
	case errors.As(err, &code): // it is an error by itself
		own = &Error{Code: code}
	default:
		return err
	}
	stored := own.stored()
	if step := calledIn(err); step != "" && stored != nil {
		stored.Step = step
	}
	return &coded{error: err, stored: stored}
}

type coded struct {
	error
	stored *store.Error
}

func (c *coded) Unwrap() error { return c.error }

// As finds the stored form.
func (c *coded) As(target any) bool {
	stored, ok := target.(**store.Error)
	if ok {
		*stored = c.stored
	}
	return ok
}

// panicOf is what code fails with that panicked; call it while recovering.
func panicOf(p any) error {
	return &Error{Code: CodePanic, Message: fmt.Sprintf("panic: %v", p), Stack: string(debug.Stack())}
}

var errExited = &Error{Code: CodeGoexit, Message: "the function ended its goroutine (runtime.Goexit) instead of returning"}

// RunError is returned by [Handle.Result] and [Call] for a run that failed.
type RunError struct {
	RunID string
	Err   *Error // why; nil when no reason was recorded
}

// Error names the run, the step and why it failed.
func (e *RunError) Error() string {
	switch {
	case e.Err == nil:
		return fmt.Sprintf("run %q failed: no reason was recorded", e.RunID)
	case e.Err.Step != "":
		return fmt.Sprintf("run %q failed in step %q: %s", e.RunID, e.Err.Step, e.Err)
	default:
		return fmt.Sprintf("run %q failed: %s", e.RunID, e.Err)
	}
}

// Unwrap returns Err, so that errors.Is(err, code) works on a RunError.
func (e *RunError) Unwrap() error {
	if e.Err == nil {
		return nil // not an error that holds a nil pointer
	}
	return e.Err
}
