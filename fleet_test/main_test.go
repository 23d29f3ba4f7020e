// Package fleet_test holds the engine to its promises when many processes work on one database and are killed, frozen,
// cut off, drained and raced against each other: through the root package, from outside.
//
// A trigger keeps a history of every change of a run and its steps, in the order in which the server made them; at its end
// each test compares that history with the promises: see fleet.verify.
package fleet_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childVariable makes this program one of the worker processes of a test: see fleet.spawn.
const childVariable = "FLEET_TEST_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
