package engine

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// inject asks a tracer, if there is one, what it wants to find again with a run that is about to be started.
func (e *Engine) inject(ctx context.Context, run *store.NewRun) {
	run.Trace = e.observer.Inject(ctx, write.Event{Kind: write.RunStarted, RunID: run.ID, Workflow: run.Workflow, Queue: run.Queue})
}

// create inserts a pending run, or returns the one that is there, of which nobody is told.
func (e *Engine) create(ctx context.Context, on *store.Store, run store.NewRun) (store.Run, error) {
	ensured, created, err := on.EnsureRun(ctx, run)
	if created {
		e.tellStarted(run)
	}
	return ensured, err
}

func (e *Engine) tellStarted(run store.NewRun) {
	if e.observer.Wants(write.RunStarted) {
		e.observer.Observe(write.Event{Kind: write.RunStarted, RunID: run.ID, Workflow: run.Workflow, Queue: run.Queue})
	}
}

// tellClaimed observes that a run is about to be executed here, and that it goes on if it was parked.
func (w *worker) tellClaimed(claimed *store.ClaimedRun) {
	observer := w.engine.observer
	if !observer.Wants(write.RunClaimed) {
		return
	}
	e := write.Event{
		Kind: write.RunClaimed, RunID: claimed.RunID, Workflow: claimed.Workflow, Queue: claimed.Queue, Waited: max(0, claimed.Waited),
	}
	observer.Observe(e)
	if claimed.Suspended != "" {
		e.Kind, e.Reason, e.WaitsFor = write.RunWoken, claimed.Suspended, claimed.WaitedFor
		observer.Observe(e)
	}
}

// tellTakenOver observes that runs of dead workers are taken over.
func (w *worker) tellTakenOver(taken store.TakenOver) {
	observer := w.engine.observer
	n := int64(len(taken.Pending) + len(taken.Doomed))
	if n == 0 {
		return
	}
	observer.Observe(write.Event{Kind: write.RunsTakenOver, Count: n})
	if !observer.Wants(write.RunTakenOver) {
		return
	}
	for _, runs := range [][]store.ClaimedRun{taken.Pending, taken.Doomed} {
		for _, run := range runs {
			observer.Observe(write.Event{Kind: write.RunTakenOver, RunID: run.RunID, Workflow: run.Workflow, Queue: run.Queue})
		}
	}
}
