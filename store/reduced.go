package store

import "strings"

// maxReduced is the longest part of a reduced error that is kept, in bytes.
const maxReduced = 500

// Reduced returns the error in a form that every database can store, whatever its encoding: ASCII, short, without a stack.
func (e *Error) Reduced() *Error {
	return &Error{Message: ascii(e.Message, maxReduced), Code: ascii(e.Code, maxReduced), Step: ascii(e.Step, maxReduced)}
}

func ascii(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}
