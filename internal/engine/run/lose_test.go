package run

import (
	"errors"
	"testing"

	"github.com/sqlworkflow/workflow/store"
)

// Why ever a run stops here, its steps say that it is interrupted, and why.
func TestLosingInterrupts(t *testing.T) {
	t.Parallel()
	refused := errors.New("permission denied")
	for _, cause := range []error{store.ErrRunLost, ErrInterrupted, refused} {
		r := timedRun()
		c := r.newCall(nil)
		r.Lose(cause)
		if err := c.begin(c.ctx, new(attempt)); !errors.Is(err, ErrInterrupted) || !errors.Is(err, cause) {
			t.Errorf("lost by %q: a step says %v", cause, err)
		}
	}
}
