package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Codes of failures that are found here.
const (
	codePanic            = "panic"
	codeExited           = "goexit"
	codeNondeterministic = "nondeterministic"
	codeDeadline         = "deadline"
	codeStepTimeout      = "step_timeout"
	codeMisuse           = "misuse"
	codeRefused          = "refused"
	codeTimeout          = "timeout"
	codeCancelled        = "cancelled"
	codeDeleted          = "deleted"
	codeCrashLoop        = "crash_loop"
)

// A failure is what an error of the application said. The error itself is not kept: its methods are the application's too, and
// may panic, or never return. err is what is stored; the rest is what the marks of this package said.
type failure struct {
	err      *store.Error
	final    bool           // no further attempt
	after    *time.Duration // until the next attempt; nil: as the policy says
	sqlState string         // of an error of the driver in it
}

// Error and SQLState let a failure pass through store.CheckpointTx.
func (f *failure) Error() string    { return f.err.Error() }
func (f *failure) SQLState() string { return f.sqlState }

// guard is the one place that calls code of the application: functions of workflows and steps, and the methods of what they
// return. A panic is a failure. runtime.Goexit is not stopped: guard does not return then, and its callers say in a defer
// what that means.
func guard(f func() (json.RawMessage, error)) (result json.RawMessage, failed *failure) {
	defer func() {
		if p := recover(); p != nil {
			result, failed = nil, &failure{err: panicked(p)}
		}
	}()
	result, err := f()
	if err == nil {
		return result, nil
	}
	return nil, failureOf(err)
}

func failureOf(err error) *failure {
	failed := &failure{err: store.NewError(err)}
	var final *finalError
	failed.final = errors.As(err, &final)
	var later *laterError
	if errors.As(err, &later) {
		failed.after = &later.after
	}
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		failed.sqlState = state.SQLState()
	}
	return failed
}

// panicked keeps the stack of a panic; call it while recovering.
func panicked(p any) *store.Error {
	return store.NewError(&store.Error{
		Code: codePanic, Message: fmt.Sprintf("panic: %v", p), Stack: string(debug.Stack()),
	})
}

// errExited is the failure of code that ends its goroutine.
var errExited = &failure{err: &store.Error{
	Code: codeExited, Message: "the function ended its goroutine (runtime.Goexit, as testing.T.FailNow does) instead of returning",
}}

// Final marks an error as one that no further attempt can change.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// RetryAfter marks an error with the time until the next attempt.
func RetryAfter(err error, after time.Duration) error {
	if err == nil {
		return nil
	}
	return &laterError{err, after}
}

type laterError struct {
	err   error
	after time.Duration
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }
