// Package fleet_test holds the engine to its promises when many processes work on one database and are killed, frozen,
// cut off, drained and raced against each other: through the root package, from outside.
//
// A trigger keeps a history of every change of a run and its steps, in the order in which the server made them; at its end
// each test compares that history with the promises: see fleet.verify.
package fleet_test

import (
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
)

func TestMain(m *testing.M) { kit.Main(m, child) }
