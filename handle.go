package workflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// Handle is the Go end of a run; [Workflow.Start] and [Workflow.Handle] return one.
type Handle[Out any] struct {
	*shared
	workflow string
	runID    string
	hold     *write.Hold // of a run that Start executes in this process
}

// RunID returns the id of the run.
func (h *Handle[Out]) RunID() string { return h.runID }

// Result waits until the run is finished, wherever it is executed, and returns its output. A failed run is a *[RunError], a
// cancelled one ErrRunCancelled, an unknown one ErrRunNotFound, and one of another workflow ErrRunConflict. The end of ctx
// ends the wait, not the run: the error says then what the run was waiting for.
//
// A run that completes in this process is told at once; all others share one query, every 10 ms at first and every second
// in the end. With a [Notifier] they are told within milliseconds, and the query is sent every two seconds for what was not heard.
// Who asks after a Resume has returned is not told the failure from before.
func (h *Handle[Out]) Result(ctx context.Context) (Out, error) {
	var out Out
	err := h.ready(ctx, "await run")
	if err == nil {
		err = checkRunID(h.runID)
	}
	if err != nil {
		return out, err
	}
	run, err := h.await(ctx)
	if err == nil && run.Workflow != h.workflow {
		err = fmt.Errorf("%w: it is a run of %q, and the handle is one of %q", ErrRunConflict, run.Workflow, h.workflow)
	}
	if err == nil && run.Status == RunCancelled {
		err = ErrRunCancelled
	}
	if err != nil {
		return out, fmt.Errorf("workflow: await run %q: %w", h.runID, err)
	}
	if run.Status == RunFailed {
		failed := &RunError{RunID: run.ID}
		var stored *store.Error
		if errors.As(run.Err, &stored) {
			failed.Err = storedError(stored)
		}
		return out, failed
	}
	err = decode(fmt.Sprintf("output of run %q", run.ID), run.Output, &out)
	return out, err
}

func (h *Handle[Out]) await(ctx context.Context) (store.Run, error) {
	if exact[Out]() {
		return h.engine.AwaitRow(ctx, h.runID)
	}
	return h.engine.Await(ctx, h.runID, h.hold)
}

// Cancel stops the run, as [State.Cancel] on the service does.
func (h *Handle[Out]) Cancel(ctx context.Context) error {
	return State{store: h.pool, shared: h.shared}.Cancel(ctx, h.runID)
}
