package workflow

import (
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/engine"
	"github.com/sqlworkflow/workflow/migrations"
	"github.com/sqlworkflow/workflow/store"
)

// Outcomes and refusals; test for them with [errors.Is].
var (
	// ErrRunNotFound is returned when no run has the given id.
	ErrRunNotFound = store.ErrRunNotFound

	// ErrRunConflict is returned when a run with the given id exists and has another workflow or another input,
	// compared as JSON.
	ErrRunConflict = store.ErrRunConflict

	// ErrRunFinished is returned when a step of a completed, failed or cancelled run is written.
	ErrRunFinished = store.ErrRunFinished

	// ErrRunOwned is returned when the state API writes to a run that a worker executes at this moment.
	ErrRunOwned = store.ErrRunOwned

	// ErrRunLost is the cause of a run's context, and is returned by its steps, when the run was taken from this
	// process: its lease ended, or the run was cancelled. Nothing was written.
	ErrRunLost = store.ErrRunLost

	// ErrRunCancelled is returned by [Handle.Result] for a run that was cancelled.
	ErrRunCancelled = errors.New("run was cancelled")

	// ErrStepFinished is returned when a succeeded step would change.
	ErrStepFinished = store.ErrStepFinished

	// ErrLockTimeout is returned when another transaction held the run for longer than Config.LockTimeout. A
	// transaction of the application stays usable.
	ErrLockTimeout = store.ErrLockTimeout

	// ErrTimeout is returned when the database gave no answer within Config.Timeout. The call may or may not have
	// taken effect.
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
	ErrOutsideRun = engine.ErrOutsideRun

	// ErrRunEnded is returned by a step that was reached after the workflow's function had returned.
	ErrRunEnded = engine.ErrRunEnded

	// ErrStepNested is returned by a step that was reached inside another one.
	ErrStepNested = engine.ErrStepNested

	// ErrStepAmbiguous is returned by a step that was reached while another one of the same name is in flight: give
	// them different names.
	ErrStepAmbiguous = engine.ErrStepAmbiguous

	// ErrTooManySteps is returned by a step that would be one too many for its run (Config.MaxSteps).
	ErrTooManySteps = engine.ErrTooManySteps

	// ErrWorking is returned by [Service.Work] while the service works already.
	ErrWorking = engine.ErrWorking

	// ErrClosed is returned by every call on a service after Close.
	ErrClosed = errors.New("service is closed")
)

// TransitionError is returned when a run's status may not change as asked; it carries the run and both statuses.
// Nothing was written.
type TransitionError = store.TransitionError

// Error is an error as the database keeps it: JSON {message, code, stack}. Steps and runs fail with one, whatever error
// the code returned; return one to set the code, which survives:
//
//	return &workflow.Error{Code: "card_declined", Message: "the bank said no"}
//
// and match on it with errors.Is(err, &workflow.Error{Code: "card_declined"}).
type Error = store.Error

// RunError is returned by [Handle.Result] for a run that failed. Unwrap gives the *[Error] that was stored, so that
// errors.Is(err, &workflow.Error{Code: …}) works on it too.
type RunError struct {
	RunID   string
	Step    string // the step that failed; "" when the function itself did
	Code    string
	Message string
	stored  error
}

// Error names the run, the step and why it failed.
func (e *RunError) Error() string {
	if e.Step != "" {
		return fmt.Sprintf("run %q failed in step %q: %s", e.RunID, e.Step, e.Message)
	}
	return fmt.Sprintf("run %q failed: %s", e.RunID, e.Message)
}

// Unwrap returns the stored error.
func (e *RunError) Unwrap() error { return e.stored }
