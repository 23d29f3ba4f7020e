package workflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/engine"
)

// Handle is the Go end of a run.
type Handle[Out any] struct {
	service *Service
	runID   string
	watch   *engine.Watch // of a run that Start executes in this process
}

// RunID returns the id of the run.
func (h *Handle[Out]) RunID() string { return h.runID }

// Result waits until the run is finished, wherever it is executed, and returns its output. The end of ctx ends the wait,
// not the run. A failed run is a *[RunError], a cancelled one ErrRunCancelled, an unknown one ErrRunNotFound.
//
// A run that ends in this process is told at once; all others share one query, every 10 ms at first and every second
// in the end.
func (h *Handle[Out]) Result(ctx context.Context) (Out, error) {
	var out Out
	if err := h.service.readyRun(ctx, "await run", h.runID); err != nil {
		return out, err
	}
	run, err := h.service.engine.Await(ctx, h.runID, h.watch)
	if err != nil {
		return out, fmt.Errorf("workflow: await run %q: %w", h.runID, err)
	}
	switch run.Status {
	case RunCancelled:
		return out, fmt.Errorf("workflow: await run %q: %w", h.runID, ErrRunCancelled)
	case RunFailed:
		return out, runError(run)
	}
	err = run.DecodeOutput(&out)
	return out, err
}

func runError(run Run) error {
	e := &RunError{RunID: run.ID, Message: "no reason was recorded", stored: run.Err}
	var stored *Error
	if errors.As(run.Err, &stored) {
		e.Step, e.Code, e.Message = stored.Step, stored.Code, stored.Message
	}
	return e
}
