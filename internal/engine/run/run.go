package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// Body is a workflow's function on encoded values.
type Body func(ctx context.Context, input json.RawMessage) (json.RawMessage, error)

// Env is what runs have in common: what they need of the worker that holds them.
type Env struct {
	Store    *store.Store
	Writer   *write.Writer
	Observer *write.Observer

	ParkAfter  time.Duration
	BlockedFor time.Duration
	MaxSteps   int
	Version    string           // of the application
	Dispatched store.Dispatched // of what a run starts

	// Draining is closed when every run is to stop before its next step.
	Draining <-chan struct{}

	// Release hands back a run of a queue, or without one (""), to be claimed by anybody after a delay.
	Release func(owned store.Owned, queue string, delay time.Duration)

	// Created says that n more runs of a queue, or without one, wait to be claimed.
	Created func(queue string, n int)

	// HasQueue reports whether there is a queue of this name.
	HasQueue func(ctx context.Context, name string) (bool, error)

	// Due says that a run is to be claimed after a time.
	Due func(in time.Duration)

	// Ended says that a run has ended which was not executed here.
	Ended func(final *store.Run)

	// ChildEnded says that a child which a step of its parent awaits has ended.
	ChildEnded func(parentID, parentStep string)
}

// A Run is a run that this process owns, under one epoch. Two contexts end it. own ends when the run is no longer this process's, and
// everything ends with it. That of a call ends also when the run is to stop in good order (parked, draining); steps in flight
// may then finish.
type Run struct {
	id       string
	workflow string
	input    json.RawMessage
	owned    store.Owned
	queue    string // "": none
	deadline *time.Duration
	suspect  bool // workers have perhaps died of it
	parentID string
	awaited  string // the step of the parent that awaits it; "": none does
	depth    int    // how many ancestors it has
	body     Body

	crashLoop bool // too many have
	trace     store.Trace
	began     time.Time // here
	env       *Env

	own     context.Context
	loseOwn context.CancelCauseFunc
	around  context.Context // of its function's calls: own, and what a tracer has added
	span    atomic.Pointer[write.Span]
	settled func(final *store.Run) // tells the worker, once, that the run is over here
	ended   sync.Once              // somebody writes how the run ends; others wait for that

	mu       sync.Mutex
	over     bool               // settled was called
	expired  bool               // the deadline has passed
	recorded map[string]*record // by key
	seq      int                // of the newest step
	attempts []*attempt         // steps in flight
	inbox    inbox              // what has come
	changed  chan struct{}      // closed and forgotten whenever attempts or the inbox change; nil when nobody waits for that
	call     *call              // the newest
	stuck    reports            // of a function that outlives the run
}

// New returns a run that was claimed, with what is recorded of it. settled is called once, when the run is over here: it has finished,
// or goes on elsewhere if final is nil. The function may outlive that.
func New(env *Env, claimed store.ClaimedRun, body Body, history store.History, settled func(final *store.Run)) *Run {
	r := &Run{
		id: claimed.RunID, workflow: claimed.Workflow, input: claimed.Input, queue: claimed.Queue, deadline: claimed.Deadline,
		owned: claimed.Owned, suspect: claimed.Suspect(), crashLoop: claimed.CrashLoop(),
		parentID: claimed.ParentID, awaited: claimed.ParentStep, depth: claimed.Depth, inbox: newInbox(claimed.WakeSeq, history),
		trace: claimed.Trace,
		body:  body, env: env, settled: settled,
		recorded: make(map[string]*record, len(history.Steps)),
	}
	now := time.Now()
	records := make([]record, len(history.Steps))
	for i := range history.Steps {
		loaded := &records[i]
		*loaded = recordOf(&history.Steps[i], now)
		if loaded.isLarge() { // on its own, to be forgotten on its own
			alone := *loaded
			loaded.Result, loaded = nil, &alone
		}
		r.recorded[loaded.Name] = loaded
	}
	r.began = now
	r.own, r.loseOwn = context.WithCancelCause(base(r.deadline, now))
	r.around = r.own
	return r
}

// base is the context under that of a run: it tells the deadline, which expire enforces.
func base(deadline *time.Duration, now time.Time) context.Context {
	if deadline == nil {
		return context.Background()
	}
	return deadlineContext{context.Background(), now.Add(*deadline)}
}

type deadlineContext struct {
	context.Context
	at time.Time
}

func (c deadlineContext) Deadline() (time.Time, bool) { return c.at, true }

// Owned returns what this process owns of the run.
func (r *Run) Owned() store.Owned { return r.owned }

// Lose stops the run at once: nothing more of it can be written here.
func (r *Run) Lose(cause error) {
	lost := errors.Is(cause, store.ErrRunLost)
	switch {
	case lost:
		cause = errLost
	case !errors.Is(cause, ErrInterrupted):
		cause = fmt.Errorf("%w (%w)", ErrInterrupted, cause)
	}
	r.loseOwn(cause)
	if r.settle(nil) && lost {
		r.tellOver(write.Event{Kind: write.RunLost})
	}
}

// lost stops the run as Lose does, and returns what its steps return from then on.
func (r *Run) lost(cause error) error {
	r.Lose(cause)
	return context.Cause(r.own)
}

// settle tells the worker, once, and reports whether this was the time.
func (r *Run) settle(final *store.Run) bool {
	r.mu.Lock()
	over := r.over
	r.over = true
	r.mu.Unlock()
	if !over {
		r.settled(final)
	}
	return !over
}

// Returned reports whether the newest call of the function has returned.
func (r *Run) Returned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.call != nil && r.call.closed
}

// Execute calls the function until it ends, parks, is blocked or is lost, and writes what became of it. left is called when no
// code of the run goes on here any more.
func (r *Run) Execute(lease context.Context, left func()) {
	stop := context.AfterFunc(lease, func() { r.Lose(context.Cause(lease)) })
	leave := func() {
		stop()
		r.loseOwn(nil)
		r.settle(nil)
		r.endSpan(write.Event{Kind: write.RunLost}) // unless it was told what became of it
		left()
	}
	if doomed := r.doomed(); doomed != nil {
		r.end(nil, doomed)
		leave()
		return
	}
	if r.deadline != nil {
		timer := time.AfterFunc(*r.deadline, r.expire)
		ended := leave
		leave = func() { timer.Stop(); ended() }
	}
	r.beginSpan()
	r.loop(leave)
}

var errCrashLoop = &store.Error{
	Code: codeCrashLoop, Message: "ten workers in a row died while they executed this run, without a new step between",
}

// doomed is why a run that was claimed has failed before its function is called, nil when it has not.
func (r *Run) doomed() *store.Error {
	switch {
	case r.deadline != nil && *r.deadline <= 0:
		return ErrDeadline
	case r.crashLoop:
		return errCrashLoop
	default:
		return nil
	}
}

func (r *Run) loop(leave func()) {
	var c *call
	done := false
	defer func() {
		if done {
			return
		}
		go func() { // the function was unwound by runtime.Goexit, and this goroutine with it
			if r.conclude(c) {
				r.loop(leave)
			} else {
				leave()
			}
		}()
	}()
	for again := true; again; {
		c = r.newCall(c)
		c.callBody()
		again = r.conclude(c)
	}
	done = true
	leave()
}

// ErrDeadline is what a run fails with when it is not finished in time.
var ErrDeadline = &store.Error{Code: codeDeadline, Message: "the run was not finished by its deadline"}

// expire ends a run whose deadline has passed, whatever its function does.
func (r *Run) expire() {
	r.mu.Lock()
	r.expired = true
	c := r.call
	r.mu.Unlock()
	if c != nil {
		c.interrupt(ErrDeadline)
	}
	r.end(nil, ErrDeadline)
}

// giveUp hands back a run that cannot go on here: its worker stops, and was patient, or the database refuses to answer.
func (r *Run) giveUp(cause error) {
	switch {
	case errors.Is(cause, store.ErrRunLost):
	case store.IsPermanent(cause):
		r.release(cause, refusedPause)
	default:
		r.release(cause, 0)
	}
}

// conclude does what follows from a call, and reports whether the function is to be called again.
func (r *Run) conclude(c *call) (again bool) {
	stopped, doomed, mismatched := c.close()
	switch {
	case r.own.Err() != nil:
		r.giveUp(context.Cause(r.own))
	case errors.Is(stopped, ErrDeadline): // expire writes that too
		r.end(nil, ErrDeadline)
	case doomed != nil:
		r.end(nil, doomed)
	case mismatched != nil:
		r.block(mismatched)
	case errors.Is(stopped, errAgain):
		r.awaitAttempts() // steps of other goroutines: the next call must not execute them once more meanwhile
		return r.own.Err() == nil || r.conclude(c)
	case errors.Is(stopped, errParked):
		return r.park(c)
	case stopped != nil:
		r.release(stopped, 0)
	default:
		if mismatch := r.unreached(c); mismatch != nil {
			r.block(mismatch)
			return false
		}
		if c.failed != nil {
			r.end(nil, c.failed.err)
			return false
		}
		r.end(c.output, nil)
	}
	return false
}
