package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow"
)

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitNothing
	exitRefused
	exitUnhealthy
)

const exitHelp = `Exit codes:
  0  done
  1  it failed: the database, a missing right, an interruption, or no for an answer
  2  the command line is wrong; or nobody can be asked, and --yes is missing
  3  no such run, queue, schedule or approval; or no run matches the filter
  4  not in this state: the run has ended, or has not, or has changed meanwhile
  5  workflow doctor has found something bad`

// errUsage is wrong usage of the command itself.
var errUsage = errors.New("wrong usage")

func wrongUsage(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (usageError) Is(target error) bool { return target == errUsage }

var (
	errNothing   = errors.New("no run matches")
	errDeclined  = errors.New("nothing was done")
	errChanged   = errors.New("not all were in a state for it")
	errUnhealthy = errors.New("something is wrong")
)

// inState are the errors that tell of a state in which something cannot be done.
var inState = []error{
	workflow.ErrRunFinished, workflow.ErrRunOwned, workflow.ErrRunConflict, workflow.ErrUniqueTaken, workflow.ErrScheduleBusy,
	workflow.ErrStepFinished, errChanged,
}

// absent are the errors that tell that something is not there.
var absent = []error{workflow.ErrRunNotFound, workflow.ErrQueueNotFound, workflow.ErrScheduleNotFound, errNothing}

func codeOf(err error) int {
	var transition *workflow.TransitionError
	var command exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &command):
		return int(command)
	case errors.Is(err, context.Canceled):
		return exitFailed
	case errors.Is(err, errUsage), errors.Is(err, workflow.ErrInvalidArgument):
		return exitUsage
	case isAny(err, absent):
		return exitNothing
	case isAny(err, inState), errors.As(err, &transition):
		return exitRefused
	case errors.Is(err, errUnhealthy):
		return exitUnhealthy
	default:
		return exitFailed
	}
}

func isAny(err error, of []error) bool {
	for _, target := range of {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
