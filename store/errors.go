package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/lock"
)

// Expected outcomes and refusals; test for them with errors.Is.
var (
	// ErrRunNotFound is returned when no run has the given id.
	ErrRunNotFound = errors.New("run not found")

	// ErrRunConflict is returned when a run with the given id exists and has another workflow or another input
	// (compared as JSON).
	ErrRunConflict = errors.New("a run with this id has another workflow or input")

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
	ErrTimeout = errors.New("no answer from the database in time")
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

// TimedOut is what a call of the store says after its bound; for a caller with a bound of its own, see [Store.Unbounded].
func TimedOut(op string, after time.Duration) error { return problem(op, timeoutError(after)) }

func timeoutError(after time.Duration) error {
	return fmt.Errorf("%w: waited %s (see Config.Timeout)", ErrTimeout, after)
}

// SQLSTATE codes that mean something to this package.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	undefinedTable       = "42P01"
	invalidSchemaName    = "3F000"
	undefinedColumn      = "42703"
	noPrivilege          = "42501"
	duplicateStatement   = "42P05"
	missingStatement     = "26000"
	protocolViolation    = "08P01"
	inFailedTransaction  = "25P02"
	cannotConnectNow     = "57P03"
	queryCanceled        = "57014"
	lockNotAvailable     = "55P03"
	readOnlyTransaction  = "25006"
)

// sqlState returns the code of an error from the server, "" for any other. Both lib/pq and pgx have the method.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

func isTransient(err error) bool {
	state := sqlState(err)
	return state == serializationFailure || state == deadlockDetected
}

// IsPermanent reports whether the server refused a statement in a way that it would refuse again: every error with an
// SQLSTATE but those that pass by themselves (serialization failures, deadlocks, lost connections, missing resources, a
// server that goes down or is a standby, time-outs, an I/O error). [IsForAWhile] errors are permanent until somebody mends them.
func IsPermanent(err error) bool {
	state := sqlState(err)
	switch state {
	case "", serializationFailure, deadlockDetected, queryCanceled, lockNotAvailable, readOnlyTransaction, "25P03":
		return false
	}
	for _, class := range []string{"08", "53", "57P0", "58"} {
		if strings.HasPrefix(state, class) {
			return false
		}
	}
	return true
}

// IsForAWhile reports whether the server refused a statement for lack of a right, a table or a schema: it would refuse
// any other like it, until somebody grants or migrates.
func IsForAWhile(err error) bool {
	switch sqlState(err) {
	case noPrivilege, undefinedTable, invalidSchemaName:
		return true
	default:
		return false
	}
}

// problem wraps an error once, with the operation first and, where the server's code tells, the mend last.
func problem(op string, err error) error {
	if err == nil {
		return nil
	}
	if mend := mendFor(sqlState(err)); mend != "" {
		return fmt.Errorf("workflow: %s: %w (%s)", op, err, mend)
	}
	return fmt.Errorf("workflow: %s: %w", op, err)
}

func mendFor(state string) string {
	switch state {
	case undefinedTable, invalidSchemaName, undefinedColumn:
		return "call Init, or run `workflow migrate up`, for the schema that Config.Schema names"
	case noPrivilege:
		return "the README lists the GRANTs that the application's role needs"
	case duplicateStatement, missingStatement, protocolViolation:
		return "a pooler shares server connections and does not keep prepared statements: " +
			"with pgx use PgBouncer 1.21 or later with max_prepared_statements, " +
			"or add default_query_exec_mode=exec to its connection string; " +
			"with lib/pq add binary_parameters=yes, or leave Config.Statements at Auto"
	default:
		return ""
	}
}
