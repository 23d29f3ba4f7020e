package store

import (
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/lock"
)

// Expected outcomes and refusals; test for them with errors.Is.
var (
	// ErrRunNotFound is returned when no run has the given id.
	ErrRunNotFound = errors.New("run not found")

	// ErrRunConflict is returned when a run with the given id, or an unfinished one with the given unique key, exists and has another
	// workflow or another input (compared as JSON).
	ErrRunConflict = errors.New("a run with this id or key has another workflow or input")

	// ErrUniqueTaken is returned when a run is resumed while another run of its workflow is unfinished and has its unique key. A
	// transaction of the caller stays usable.
	ErrUniqueTaken = errors.New("another unfinished run has its unique key")

	// ErrQueueNotFound is returned when no queue has the given name. SetQueue and EnsureQueue make one.
	ErrQueueNotFound = errors.New("queue not found: call SetQueue or EnsureQueue first")

	// ErrScheduleNotFound is returned when no schedule has the given name.
	ErrScheduleNotFound = errors.New("schedule not found")

	// ErrScheduleBusy is returned when a schedule that does not start a run beside its last one is to start one before that is finished.
	ErrScheduleBusy = errors.New("the schedule's last run is not finished")

	// ErrQueueFull is returned when a limit or a pause of its queue keeps a run from being executed now.
	ErrQueueFull = errors.New("a limit or a pause of the run's queue holds it back")

	// ErrRunFinished is returned when a step of a completed, failed or cancelled run is written.
	ErrRunFinished = errors.New("run is finished")

	// ErrRunOwned is returned when the state API writes to a run that a worker executes at this moment.
	ErrRunOwned = errors.New("run is owned by a worker")

	// ErrRunLost is returned when a worker writes to a run that was taken from it: cancelled, or taken over after
	// its lease had ended. Nothing was written.
	ErrRunLost = errors.New("run was lost to another owner")

	// ErrStepFinished is returned when a succeeded step would change.
	ErrStepFinished = errors.New("step has already succeeded")

	// ErrLockTimeout is returned when another transaction held the run's lock or row for longer than
	// Config.LockTimeout. A transaction of the caller stays usable.
	ErrLockTimeout = lock.ErrTimeout

	// ErrInvalidArgument is returned, before anything reaches the server, for a name, id, status or payload that
	// cannot be stored, or a cursor that no page has given out. The message says which and why.
	ErrInvalidArgument = errors.New("invalid argument")

	// ErrTxMisused is returned when the function of a transactional step left its transaction unusable. What it wrote
	// there is rolled back, unless it committed it itself.
	ErrTxMisused = errors.New("the transaction of a step was misused")

	// ErrTimeout is returned when the database gave no answer within Config.Timeout. The call may or may not have
	// taken effect.
	ErrTimeout = pg.ErrTimeout

	// ErrNoConnection is returned, within Config.Timeout too, when all connections of the pool were in use. Nothing was
	// sent.
	ErrNoConnection = pg.ErrNoConnection
)

// TransitionError is returned when a run's status may not change as asked. Nothing was written.
type TransitionError struct {
	RunID    string
	From, To RunStatus
}

// Error names the run and both statuses.
func (e *TransitionError) Error() string {
	if e.From == e.To {
		return fmt.Sprintf("run %q is %s already, with another output or error", e.RunID, e.From)
	}
	return fmt.Sprintf("run %q cannot go from %s to %s", e.RunID, e.From, e.To)
}
