package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// A Dispatcher tells a queue of the application's which runs there is something to do for.
type Dispatcher interface {
	Dispatch(ctx context.Context, runIDs []string) error
}

// A TxDispatcher can do so in a transaction on the same database.
type TxDispatcher interface {
	Dispatcher
	DispatchTx(ctx context.Context, tx *sql.Tx, runIDs []string) error
}

// A dispatch is the way to the application's queue: how runs are started in a process that has one.
type dispatch struct {
	store    *store.Store
	observer *write.Observer
	queue    Dispatcher
	inTx     TxDispatcher // nil: it cannot
	timeout  time.Duration
	after    time.Duration // announcements are repeated
	missed   atomic.Bool   // a run was not announced that a look may have passed
}

// newDispatch returns nil for no queue.
func newDispatch(st *store.Store, config Config, observer *write.Observer) *dispatch {
	if config.Dispatcher == nil {
		return nil
	}
	inTx, _ := config.Dispatcher.(TxDispatcher)
	return &dispatch{
		store: st, observer: observer, queue: config.Dispatcher, inTx: inTx, timeout: config.Timeout, after: config.Redispatch,
	}
}

// Create inserts a pending run through a store, which may be bound to a transaction of the caller's, or returns the one that is there.
func (e *Engine) Create(ctx context.Context, on *store.Store, run store.NewRun) (store.Run, error) {
	e.inject(ctx, &run)
	if e.dispatch == nil {
		return e.create(ctx, on, run)
	}
	var created store.Run
	err := e.dispatch.insert(ctx, on, run, func(ctx context.Context, on *store.Store, run store.NewRun) (id string, err error) {
		created, err = e.create(ctx, on, run)
		return created.ID, err
	})
	return created, err
}

// startDispatched is Start for a run that the application's queue is told of. It begins here only if that brings it here.
func (e *Engine) startDispatched(ctx context.Context, run store.NewRun) (id string, err error) {
	if run.ID == "" && e.dispatch.inTx != nil {
		fresh, err := uuid.NewV7()
		if err != nil {
			return "", err
		}
		run.ID = fresh.String()
	}
	err = e.dispatch.insert(ctx, e.store, run, func(ctx context.Context, on *store.Store, run store.NewRun) (_ string, err error) {
		if on.Tx() == nil {
			id, _, err = e.start(ctx, run, nil)
			return id, err
		}
		created, err := e.create(ctx, on, run)
		id = created.ID
		return id, err
	})
	return id, err
}

// children says how what a run starts is inserted: the sweep announces it, many at once.
func (d *dispatch) children() store.Dispatched {
	if d == nil {
		return store.ByClaim
	}
	return store.Unannounced
}

// An insertion inserts a run that has been decided about.
type insertion func(ctx context.Context, on *store.Store, run store.NewRun) (id string, err error)

// insert has a run inserted and announces it: in the transaction that inserts it, if the queue can do that; else once it has been
// inserted. In a transaction of the caller's nobody here knows when that is, and a run that is to wait would come too early: those are
// left to the sweep.
func (d *dispatch) insert(ctx context.Context, on *store.Store, run store.NewRun, do insertion) error {
	run.Dispatched = store.Announced
	switch {
	case run.Delay > 0, on.Tx() != nil && d.inTx == nil:
		run.Dispatched = store.Unannounced
		_, err := do(ctx, on, run)
		return err
	case on.Tx() != nil:
		return whole(d.insertWith(ctx, on, run, do))
	case d.inTx != nil:
		return whole(on.InTransaction(ctx, fmt.Sprintf("start run %q", run.ID), func(ctx context.Context, on *store.Store) error {
			return d.insertWith(ctx, on, run, do)
		}))
	}
	id, err := do(ctx, on, run)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.timeout)
	defer cancel()
	if err := d.tell(ctx, nil, []string{id}); err != nil { // the run is there all the same
		d.report(id, err)
		d.takeBack(ctx, []string{id})
	}
	return nil
}

// insertWith inserts a run with its message, in the transaction that the store is bound to.
func (d *dispatch) insertWith(ctx context.Context, on *store.Store, run store.NewRun, do insertion) error {
	id, err := do(ctx, on, run)
	if err != nil {
		return err
	}
	return d.tell(ctx, on.Tx(), []string{id})
}

// takeBack notes of runs that they were not announced after all. Should that fail too, they are announced again after a while.
func (d *dispatch) takeBack(ctx context.Context, ids []string) {
	err := d.store.TakeBackAnnouncements(context.WithoutCancel(ctx), ids)
	d.missed.Store(true)
	if err != nil {
		d.observer.Observe(write.Event{Kind: write.Trouble, Op: "take back announcements", Err: err})
	}
}

// report tells that the queue was not told of a run, or of several if there is no id.
func (d *dispatch) report(id string, err error) {
	d.observer.Observe(write.Event{Kind: write.DispatchFailed, RunID: id, Err: err})
}

// A refusal is an error of the application's dispatcher. What it says was asked where that could do no harm.
type refusal struct {
	runIDs []string
	text   string
	err    error
}

func (r *refusal) Error() string { return r.text }

// whole gives a caller the error of its dispatcher, with all that can be asked of it.
func whole(err error) error {
	var refused *refusal
	if errors.As(err, &refused) && refused.err != nil {
		return fmt.Errorf("workflow: dispatch run %q: %w", refused.runIDs[0], refused.err)
	}
	return err
}

// tell calls the dispatcher, in a transaction if there is one; its error is a *refusal. It is code of the application: it may panic, end
// its goroutine, or not return.
func (d *dispatch) tell(ctx context.Context, tx *sql.Tx, ids []string) error {
	told := make(chan *refusal, 1)
	go func() {
		refused := &refusal{runIDs: ids, text: "the dispatcher ended its goroutine (runtime.Goexit)"}
		defer func() {
			if p := recover(); p != nil {
				refused = &refusal{runIDs: ids, text: fmt.Sprintf("the dispatcher panicked: %v", p)}
			}
			told <- refused
		}()
		var err error
		if tx != nil {
			err = d.inTx.DispatchTx(ctx, tx, ids)
		} else {
			err = d.queue.Dispatch(ctx, ids)
		}
		if err == nil {
			refused = nil
		} else {
			refused = &refusal{runIDs: ids, text: err.Error(), err: err}
		}
	}()
	var refused *refusal
	select {
	case refused = <-told:
	case <-ctx.Done():
		timer := time.NewTimer(abandonAfter)
		defer timer.Stop()
		select {
		case refused = <-told:
		case <-timer.C:
			refused = &refusal{runIDs: ids, text: "the dispatcher did not return"}
		}
	}
	if refused == nil {
		return nil
	}
	return refused
}
