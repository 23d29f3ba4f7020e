package workflow

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Longest names, in bytes.
const (
	maxName    = 255  // run ids, names of workflows and queues
	maxStepKey = 1024 // a step's whole key, with the branch before it and the count after it
)

func checkRunID(id string) error { return checkName("run id", id, maxName) }

func checkWorkflowName(name string) error { return checkName("workflow name", name, maxName) }

// checkStepName checks a name that a caller gives to a step. The characters # and / are reserved: the engine makes name#1 of a
// repeated name, and key/name of a name in a branch.
func checkStepName(name string) error {
	if err := checkStepKey(name); err != nil {
		return err
	}
	if i := strings.IndexAny(name, "#/"); i >= 0 {
		return fmt.Errorf("workflow: step name %q: %w: it must not contain %q", name, ErrInvalidArgument, name[i])
	}
	return nil
}

func checkStepKey(key string) error { return checkName("step name", key, maxStepKey) }

func checkName(what, name string, limit int) error {
	if problem := nameProblem(what, name, limit); problem != nil {
		return fmt.Errorf("workflow: %w", problem)
	}
	return nil
}

// nameProblem is checkName within an error that names its room.
func nameProblem(what, name string, limit int) error {
	var problem error
	switch {
	case name == "":
		problem = errors.New("it must not be empty")
	case len(name) > limit:
		return fmt.Errorf("%s %.32q…: %w: it has %d bytes, at most %d", what, name, ErrInvalidArgument, len(name), limit)
	case !utf8.ValidString(name):
		problem = errors.New("it must be valid UTF-8")
	case strings.ContainsRune(name, 0):
		problem = errors.New("it must not contain a NUL character, which PostgreSQL cannot store")
	default:
		return nil
	}
	return fmt.Errorf("%s %q: %w: %w", what, name, ErrInvalidArgument, problem)
}
