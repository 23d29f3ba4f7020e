package engine

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// Start creates a run and returns its id, which is a new UUIDv7 unless run has one. It is inserted already claimed when this
// process works, knows the workflow and has a free slot, and comes with a hold then; else it waits for whoever claims it
// first. A run of a queue always waits for that: a claim alone knows what its limits allow.
func (e *Engine) Start(ctx context.Context, run store.NewRun) (id string, hold *write.Hold, err error) {
	e.inject(ctx, &run)
	if e.dispatch != nil {
		id, err = e.startDispatched(ctx, run)
		return id, nil, err
	}
	return e.start(ctx, run, e.working())
}

// StartPending is Start for a run that has to be claimed even here: its function must get the input as the database has it.
func (e *Engine) StartPending(ctx context.Context, run store.NewRun) (id string, err error) {
	e.inject(ctx, &run)
	if e.dispatch != nil {
		return e.startDispatched(ctx, run)
	}
	id, _, err = e.start(ctx, run, nil)
	return id, err
}

func (e *Engine) start(ctx context.Context, run store.NewRun, here *worker) (id string, hold *write.Hold, err error) {
	send := e.writer.Write
	if run.Unique != "" {
		send = e.writer.Alone // there may be such a run
	}
	if run.ID == "" {
		fresh, err := uuid.NewV7()
		if err != nil {
			return "", nil, err
		}
		run.ID = fresh.String()
	} else {
		send = e.writer.Alone           // there may be such a run
		run.Gate = e.store.Gate(run.ID) // or somebody's open transaction that creates it: CreateRun waits for that, without a slot
	}

	place := here.takePlace(&run)
	outcome, err := send(ctx, run)
	created := err == nil && outcome == store.Written
	if created {
		e.tellStarted(run)
	}
	if place != nil {
		if created {
			return run.ID, place.fill(run), nil
		}
		place.giveUp() // if it was inserted all the same, it is released as owned and not held
	}
	if err == nil && !created { // a run with this id or key exists
		run.Owner = ""
		var found store.Run
		if found, err = e.create(ctx, e.store, run); err == nil {
			run.ID = found.ID
		}
	}
	switch {
	case err != nil:
	case run.Dispatched != store.ByClaim: // a message brings it
	case run.Delay > 0:
		e.due(run.Delay)
	default:
		e.Created(run.Queue, run.Workflow)
	}
	return run.ID, nil, err
}

// A place is kept for a run that starts here while its insert is under way. An insert that takes long, because it waits for
// another transaction, lends its slot to others meanwhile.
type place struct {
	worker *worker
	lease  context.Context
	runID  string
	timer  *time.Timer

	mu      sync.Mutex
	lent    bool
	decided bool // whether the slot is lent or kept
}

// lendAfter is how long an insert may take before its slot is lent.
const lendAfter = 100 * time.Millisecond

// takePlace takes a slot for a run that starts here, if there is one that no other run waits for, and makes the worker its
// owner.
func (w *worker) takePlace(run *store.NewRun) *place {
	if w == nil || run.Delay > 0 || run.Queue != NoQueue || run.Dispatched != store.ByClaim || w.engine.body(run.Workflow) == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open { // before that there is not even a lease to ask
		return nil
	}
	lease, id := w.lease.current()
	if id == "" || !w.slots.forStart() {
		return nil
	}
	w.functions.Add(1) // Work waits for it
	run.Owner = id
	w.engine.holds.Starting(run.ID)
	p := &place{worker: w, lease: lease, runID: run.ID}
	p.timer = time.AfterFunc(lendAfter, p.lend)
	return p
}

func (p *place) lend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decided { // the insert was answered while the timer fired
		return
	}
	p.lent, p.decided = true, true
	p.worker.giveStarted()
}

// keeps reports whether the slot is still the run's. From then on it is not lent.
func (p *place) keeps() bool {
	p.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decided = true
	return !p.lent
}

// fill executes the run that was inserted, unless its slot was lent and none is free now: then it is released.
func (p *place) fill(run store.NewRun) *write.Hold {
	defer p.leave()
	if !p.keeps() && !p.worker.retake() {
		p.worker.release(store.Owned{RunID: run.ID, Epoch: 1}, NoQueue, 0)
		return nil
	}
	claimed := store.ClaimedRun{Owned: store.Owned{RunID: run.ID, Epoch: 1}, Workflow: run.Workflow, Input: run.Input, Trace: run.Trace}
	if run.Deadline > 0 {
		claimed.Deadline = &run.Deadline
	}
	hold := write.NewHold()
	p.worker.execute(p.lease, hold, claimed, store.History{}, p.worker.giveStarted)
	return hold
}

func (p *place) giveUp() {
	if p.keeps() {
		p.worker.giveStarted()
	}
	p.leave()
}

func (p *place) leave() {
	p.worker.engine.holds.Started(p.runID)
	p.worker.functions.Done()
}

func (w *worker) retake() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots.take()
}
