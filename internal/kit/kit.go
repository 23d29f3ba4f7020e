// Package kit is what the test suites of this module share: waiting for what must happen, asking a database, starting
// processes to kill or freeze, and the checks that every second line makes.
//
// Nothing here sleeps to wait. What is waited for has [Patience] to come, which is far longer than it should ever take: only
// a test that fails meets that bound.
package kit

import (
	"errors"
	"testing"
	"time"
)

// Patience bounds whatever a test waits for, on however busy a machine.
const Patience = 3 * time.Minute

// Must ends the test if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantIs checks an error with errors.Is; want is nil when there must be none.
func WantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error = %v, want %v", err, want)
	}
}

// SQLState returns the SQLSTATE of an error, as an application would look for it, or "".
func SQLState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}
