package engine

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/store"
)

// Start creates a run and returns its id, which is a new UUIDv7 unless run has one. It is inserted already claimed when this
// process works, knows the workflow and has a free slot, and comes with a watch then; else it waits for whoever claims it
// first.
func (e *Engine) Start(ctx context.Context, run store.NewRun) (id string, watch *Watch, err error) {
	write := e.writer.write
	if run.ID == "" {
		fresh, err := uuid.NewV7()
		if err != nil {
			return "", nil, err
		}
		run.ID = fresh.String()
	} else {
		write = e.writeAlone // the insert may wait for somebody who creates the same run, and others must not
	}

	w := e.working()
	lease, took := w.takeStart(&run)
	written, err := write(ctx, run)
	switch {
	case took && err == nil && written:
		watch = w.start(lease, newRun(w, store.ClaimedRun{
			ID: run.ID, Workflow: run.Workflow, Input: run.Input, Epoch: 1, Deadline: deadline(run),
		}, nil))
		w.runs.Done()
		return run.ID, watch, nil
	case took: // if it was inserted all the same, it is released as owned and not held
		w.dropStart(run.ID)
	}
	if err == nil && !written { // a run with this id exists
		run.Owner = ""
		_, err = e.store.CreateRun(ctx, run)
	}
	if err == nil {
		e.Created()
	}
	return run.ID, nil, err
}

func (e *Engine) writeAlone(ctx context.Context, row store.Write) (bool, error) {
	written, err := e.store.Write(ctx, []store.Write{row})
	return written[0], err
}

// takeStart takes a slot for a run that starts here, if there is one that no other run waits for, and makes the worker its
// owner. Until start or dropStart the run may be owned and not held.
func (w *worker) takeStart(run *store.NewRun) (lease context.Context, took bool) {
	if w == nil || run.Delay > 0 || w.engine.body(run.Workflow) == nil {
		return nil, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open || w.demand.more || w.free <= w.demand.due() {
		return nil, false
	}
	lease, id := w.lease.current()
	if id == "" {
		return nil, false
	}
	w.free--
	w.starting[run.ID] = true
	w.runs.Add(1) // Work waits for it
	run.Owner = id
	return lease, true
}

func (w *worker) dropStart(runID string) {
	w.mu.Lock()
	delete(w.starting, runID)
	w.mu.Unlock()
	w.freeSlot()
	w.runs.Done()
}

// deadline returns what is left until a new run's deadline, nil for none.
func deadline(run store.NewRun) *time.Duration {
	if run.Deadline == 0 {
		return nil
	}
	return &run.Deadline
}
