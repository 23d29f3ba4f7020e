package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Of many steps in flight a heartbeat names those that have been so for the longest.
func TestLongest(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, maxHanging, 3 * maxHanging} {
		var steps []store.HangingStep
		for _, took := range rand.Perm(n) {
			steps = append(steps, store.HangingStep{Took: time.Duration(took)})
		}
		got := longest(steps)
		if len(got) != min(n, maxHanging) {
			t.Errorf("of %d steps %d are named, want at most %d", n, len(got), maxHanging)
		}
		for i, step := range got {
			if want := time.Duration(n - 1 - i); step.Took != want {
				t.Errorf("of %d steps number %d has been in flight for %d, want %d", n, i, step.Took, want)
			}
		}
	}
}
