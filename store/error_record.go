package store

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Error is an error as the database keeps it: JSON {message, code, stack, step}. What a step or a run failed with comes back
// as one, and a workflow may return one to set its code:
//
//	return &workflow.Error{Code: "card_declined", Message: "the bank said no"}
type Error struct {
	Message string `json:"message"`
	Code    string `json:"code,omitempty"`  // for programs: match on it with [Error.Is]
	Stack   string `json:"stack,omitempty"` // where a panic came from
	Step    string `json:"step,omitempty"`  // the step that failed, when a run failed with a step's error
}

// Error returns the message, or the code when there is none.
func (e *Error) Error() string {
	if e == nil { // in an error that is not nil: a mistake that must not hide a failure
		return "<nil>"
	}
	if e.Message == "" {
		return e.Code
	}
	return e.Message
}

// Is reports whether target is this error's [Code], or an *Error with the same one, which must not be empty.
func (e *Error) Is(target error) bool {
	if e == nil || e.Code == "" {
		return false
	}
	switch target := target.(type) {
	case Code:
		return string(target) == e.Code
	case *Error:
		return target != nil && target.Code == e.Code
	default:
		return false
	}
}

// Code tells programs what an [Error] is about. It is an error itself, so that one compares with errors.Is:
//
//	if errors.Is(err, workflow.CodeDeadline) { … }
type Code string

// Error returns the code.
func (c Code) Error() string { return string(c) }

// Longest parts of an error that are kept, in bytes. An error is cut rather than refused: losing the report of a
// failure is worse than losing its tail.
const (
	maxMessage = 8 << 10
	maxCode    = 255
	maxStack   = 32 << 10
	maxStep    = 4 << 10
)

// NewError returns err as it will be stored: the message of err, and the code and stack of the *Error in its chain, if
// there is one. Parts are cut to a few kilobytes, and what PostgreSQL cannot store is replaced. It returns nil for nil.
func NewError(err error) *Error {
	if err == nil {
		return nil
	}
	stored := &Error{Message: storable(err.Error(), maxMessage)}
	var e *Error
	if errors.As(err, &e) && e != nil {
		if e.Message == "" && stored.Message == storable(e.Code, maxMessage) {
			stored.Message = ""
		}
		stored.Code = storable(e.Code, maxCode)
		stored.Stack = storable(e.Stack, maxStack)
		stored.Step = storable(e.Step, maxStep)
	}
	return stored
}

func storable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// encodeError returns the column's value: NULL for nil.
func encodeError(e *Error) json.RawMessage {
	if e == nil {
		return nil
	}
	text, err := json.Marshal(e)
	if err != nil { // of four strings it is never
		panic(err)
	}
	return text
}

// decodeError returns the error in a column, nil for NULL. Rows written by hand may hold any JSON: it becomes the message.
func decodeError(column pg.JSONB) error {
	if column == nil {
		return nil
	}
	var stored struct {
		Error
		Message *string `json:"message"`
	}
	if json.Unmarshal(column, &stored) != nil || stored.Message == nil {
		return &Error{Message: string(column)}
	}
	stored.Error.Message = *stored.Message
	return &stored.Error
}
