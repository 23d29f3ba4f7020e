package workflow

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/store"
)

// The rows of the state API.
type (
	// Run is one execution of a workflow.
	Run = store.Run
	// RunStatus is where a run stands.
	RunStatus = store.RunStatus
	// RunFilter selects the runs of a list.
	RunFilter = store.RunFilter
	// RunPage is one page of a list.
	RunPage = store.RunPage
	// Step is one unit of work of a run.
	Step = store.Step
	// StepStatus is where a step stands.
	StepStatus = store.StepStatus
	// StepKind tells steps of the engine apart.
	StepKind = store.StepKind
	// Attempts are the failed attempts of a step.
	Attempts = store.Attempts
	// FailedAttempt is one failed attempt of a step.
	FailedAttempt = store.FailedAttempt
	// RetryPolicy says how often a step is attempted, and how long each next attempt waits.
	RetryPolicy = store.RetryPolicy
)

// The statuses of a run.
const (
	RunPending   = store.RunPending   // waits for a worker
	RunRunning   = store.RunRunning   // is executed by its owner, or by hand when it has none
	RunSuspended = store.RunSuspended // waits for a time or an event
	RunCompleted = store.RunCompleted // returned an output
	RunFailed    = store.RunFailed    // returned an error
	RunCancelled = store.RunCancelled // was stopped from outside
)

// The statuses of a step.
const (
	StepPending   = store.StepPending   // never written
	StepScheduled = store.StepScheduled // handed to someone who will execute it
	StepRunning   = store.StepRunning   // being executed
	StepSucceeded = store.StepSucceeded // has a result; final
	StepFailed    = store.StepFailed    // has an error; may still succeed
)

// The kinds of steps besides plain ones.
const (
	TxStep    = store.TxStep    // recorded in the transaction of its effects
	SleepStep = store.SleepStep // a wait
)

// State is the state API: it creates, reads and moves runs and their steps by hand, which is how an application drives
// runs that it executes itself. A [Service] has it on its pool; [Service.In] returns one that writes in a transaction of
// the application, so that its rows and ours commit together.
//
// In such a transaction the outcomes in this package's errors never abort it. Under REPEATABLE READ and SERIALIZABLE a
// run that changed after the transaction's snapshot is a serialization failure (SQLSTATE 40001), which is passed through.
type State struct {
	store *store.Store
	*shared
}

// shared is what a service has in common with the states bound to its transactions.
type shared struct {
	closed       atomic.Bool
	payloadLimit int
}

// ready is asked first by every call.
func (s *shared) ready(ctx context.Context, op string) error {
	if s.closed.Load() {
		return fmt.Errorf("workflow: %s: %w", op, ErrClosed)
	}
	if err := store.Why(ctx); err != nil {
		return fmt.Errorf("workflow: %s: %w", op, err)
	}
	return nil
}

// CreateRun creates a pending run and returns its id, a UUIDv7. The input is encoded as JSON; a [json.RawMessage] is
// taken as it is. A worker that knows the workflow will claim the run.
func (s State) CreateRun(ctx context.Context, workflow string, input any) (string, error) {
	run, err := s.newRun(ctx, workflow, input, nil)
	if err == nil {
		run, err = withID(run)
	}
	if err != nil {
		return "", err
	}
	created, err := s.store.CreateRun(ctx, run)
	return created.ID, err
}

// CreateRunWithID creates a pending run under an id that the caller chose, at most 255 bytes. When a run with this id
// exists, it is returned if its workflow and input are the same (compared as JSON); else ErrRunConflict. Callers that race
// get the same run.
func (s State) CreateRunWithID(ctx context.Context, id, workflow string, input any) (Run, error) {
	run, err := s.newRun(ctx, workflow, input, []StartOption{WithRunID(id)})
	if err != nil {
		return Run{}, err
	}
	return s.store.CreateRun(ctx, run)
}

// newRun checks and encodes what is to be written; the run has no id unless the caller chose one.
func (s *shared) newRun(ctx context.Context, workflow string, input any, options []StartOption) (store.NewRun, error) {
	var o startOptions
	for _, option := range options {
		option(&o)
	}
	if err := s.ready(ctx, "create run"); err != nil {
		return store.NewRun{}, err
	}
	if o.delay < 0 || o.deadline < 0 {
		return store.NewRun{}, fmt.Errorf("workflow: start: %w: a delay and a deadline must not be negative", ErrInvalidArgument)
	}
	if o.chosen {
		if err := checkRunID(o.runID); err != nil {
			return store.NewRun{}, err
		}
	}
	if err := checkWorkflowName(workflow); err != nil {
		return store.NewRun{}, err
	}
	payload, err := encode("input", input, s.payloadLimit)
	return store.NewRun{ID: o.runID, Workflow: workflow, Input: payload, Delay: o.delay, Deadline: o.deadline}, err
}

// withID gives a run a UUIDv7 unless its id is chosen.
func withID(run store.NewRun) (store.NewRun, error) {
	if run.ID != "" {
		return run, nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return run, fmt.Errorf("workflow: create run: %w", err)
	}
	run.ID = id.String()
	return run, nil
}

// GetRun returns a run, or ErrRunNotFound.
func (s State) GetRun(ctx context.Context, id string) (Run, error) {
	if err := s.readyRun(ctx, "get run", id); err != nil {
		return Run{}, err
	}
	return s.store.GetRun(ctx, id)
}

// ListRuns returns a page of runs, newest first. Runs that are created meanwhile do not shift the pages behind it.
func (s State) ListRuns(ctx context.Context, filter RunFilter) (RunPage, error) {
	if err := s.ready(ctx, "list runs"); err != nil {
		return RunPage{}, err
	}
	if err := checkFilter(&filter); err != nil {
		return RunPage{}, err
	}
	return s.store.ListRuns(ctx, filter)
}

const (
	defaultPage = 100
	maxPage     = 1000
)

func checkFilter(filter *RunFilter) error {
	setDefault(&filter.Limit, defaultPage)
	if filter.Limit < 0 || filter.Limit > maxPage {
		return fmt.Errorf("workflow: RunFilter.Limit is %d: %w: at most %d", filter.Limit, ErrInvalidArgument, maxPage)
	}
	for _, status := range filter.Statuses {
		if !status.Valid() {
			return fmt.Errorf("workflow: RunFilter.Statuses has %q: %w: no such status", status, ErrInvalidArgument)
		}
	}
	if filter.Workflow != "" {
		if err := checkWorkflowName(filter.Workflow); err != nil {
			return err
		}
	}
	if filter.Cursor != "" {
		return checkName("RunFilter.Cursor", filter.Cursor, 2*maxName)
	}
	return nil
}

// UpdateRunStatus moves a run that no worker executes. Allowed are: pending, running and suspended to each terminal
// status; pending and suspended to running; running to suspended. Anything else is a *TransitionError, but the same
// status again with an equal output and error is success. A run that a worker executes is ErrRunOwned.
//
// Output and err replace what was recorded. A nil output records none; json.RawMessage("null") records JSON null. An err
// is stored as JSON {message, code, stack} (see [Error]) and comes back as Run.Err. A run that was moved to running or
// suspended by hand is never claimed by a worker.
func (s State) UpdateRunStatus(ctx context.Context, id string, to RunStatus, output any, err error) error {
	if err := s.readyRun(ctx, "update run status", id); err != nil {
		return err
	}
	if !to.Valid() {
		return fmt.Errorf("workflow: run status %q: %w: no such status", to, ErrInvalidArgument)
	}
	var payload json.RawMessage
	if raw, isRaw := output.(json.RawMessage); output != nil && (!isRaw || raw != nil) {
		var problem error
		if payload, problem = encode("output", output, s.payloadLimit); problem != nil {
			return problem
		}
	}
	return s.store.UpdateRunStatus(ctx, id, to, payload, store.NewError(err))
}

// Cancel stops a run, whoever executes it: once Cancel has returned (in a transaction: once that has committed) no write of
// the run commits. A run that waits is cancelled at once, and the function of one that is executed has its context ended,
// in another process with its worker's next heartbeat. Cancelling a cancelled run is fine; a completed or failed one is
// a *TransitionError.
func (s State) Cancel(ctx context.Context, id string) error {
	if err := s.readyRun(ctx, "cancel run", id); err != nil {
		return err
	}
	return s.store.CancelRun(ctx, id)
}

// Resume makes a failed or cancelled run pending, to go on from its last good step: the step that it failed with is
// attempted again, with as many attempts as at first. A deadline is removed. Any other run is a *TransitionError.
func (s State) Resume(ctx context.Context, id string) error {
	if err := s.readyRun(ctx, "resume run", id); err != nil {
		return err
	}
	return s.store.ResumeRun(ctx, id)
}

// DeleteRun deletes a run and its steps: ErrRunNotFound, or ErrRunOwned while a worker executes it.
func (s State) DeleteRun(ctx context.Context, id string) error {
	if err := s.readyRun(ctx, "delete run", id); err != nil {
		return err
	}
	return s.store.DeleteRun(ctx, id)
}

// GetStepState returns a step of a run. A step that was never written is pending; of an unknown run, ErrRunNotFound.
func (s State) GetStepState(ctx context.Context, runID, step string) (Step, error) {
	if err := s.readyRun(ctx, "get step", runID); err != nil {
		return Step{}, err
	}
	if err := checkStepKey(step); err != nil {
		return Step{}, err
	}
	return s.store.GetStepState(ctx, runID, step)
}

// ListSteps returns the steps of a run in the order of their last change, or ErrRunNotFound.
func (s State) ListSteps(ctx context.Context, runID string) ([]Step, error) {
	if err := s.readyRun(ctx, "list steps", runID); err != nil {
		return nil, err
	}
	return s.store.ListSteps(ctx, runID)
}

// SetStepScheduled records that a step was handed to someone who will execute it. See [State.SetStepResult] for the
// errors.
func (s State) SetStepScheduled(ctx context.Context, runID, step string) error {
	return s.setStep(ctx, store.NewStep{RunID: runID, Name: step, Status: StepScheduled})
}

// SetStepResult records that a step succeeded, and with what; nil is JSON null. The first result is final: the same one
// again is success, another one ErrStepFinished. ErrRunNotFound; ErrRunFinished when the run is completed, failed or
// cancelled; ErrRunOwned while a worker executes it. A step name has at most 1,024 bytes and neither # nor /.
func (s State) SetStepResult(ctx context.Context, runID, step string, result any) error {
	payload, err := encode("step result", result, s.payloadLimit)
	if err != nil {
		return err
	}
	return s.setStep(ctx, store.NewStep{RunID: runID, Name: step, Status: StepSucceeded, Result: payload})
}

// SetStepError records that a step failed, and why; it may still succeed later. See [State.SetStepResult] for the errors.
func (s State) SetStepError(ctx context.Context, runID, step string, err error) error {
	if err == nil {
		return fmt.Errorf("workflow: step error: %w: it must not be nil", ErrInvalidArgument)
	}
	return s.setStep(ctx, store.NewStep{RunID: runID, Name: step, Status: StepFailed, Err: store.NewError(err)})
}

func (s State) setStep(ctx context.Context, step store.NewStep) error {
	if err := s.readyRun(ctx, "set step", step.RunID); err != nil {
		return err
	}
	if err := checkStepName(step.Name); err != nil {
		return err
	}
	return s.store.SetStep(ctx, step)
}

func (s State) readyRun(ctx context.Context, op, id string) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	return checkRunID(id)
}

// section marks a context inside WithRunLock, with the run and the service that it belongs to.
type section struct {
	of    *shared
	runID string
}

// WithRunLock calls fn while nobody else holds the lock of the run: no other WithRunLock in any process, no other write to
// the run. The state API and the transaction that fn gets belong together; what is written through them commits with
// the release of the lock when fn returns nil, and rolls back when it returns an error or panics. fn's error is
// returned as it is.
//
// The lock is for short read-modify-write sections: it holds a connection and a transaction. fn must not write to the run
// through the service itself, which would wait for fn. Taking the lock of the same run again inside fn is fine, through
// either, as long as fn's context is passed on. On a state that is bound to a transaction the lock is held until that
// ends, and an error of fn undoes what fn wrote.
//
// ErrRunNotFound; ErrLockTimeout when others hold the lock for longer than Config.LockTimeout.
func (s State) WithRunLock(
	ctx context.Context, id string, fn func(ctx context.Context, tx *sql.Tx, state State) error,
) error {
	if err := s.readyRun(ctx, "lock run", id); err != nil {
		return err
	}
	mark := section{of: s.shared, runID: id}
	if held, ok := ctx.Value(mark).(State); ok && s.store.Tx() == nil {
		s = held
	}
	return s.store.WithRunLock(ctx, id, func(ctx context.Context, bound *store.Store) error {
		state := State{store: bound, shared: s.shared}
		return fn(context.WithValue(ctx, mark, state), bound.Tx(), state)
	})
}
