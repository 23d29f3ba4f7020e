package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Why a call of the function is interrupted while the run goes on, here or elsewhere.
var (
	// ErrInterrupted is what every step returns while its run stops here: in good order, or because it was lost.
	ErrInterrupted = errors.New("the run is interrupted and will go on: return this error")

	errParked   = fmt.Errorf("%w (it is parked until it has waited)", ErrInterrupted)
	errDraining = fmt.Errorf("%w (its worker is stopping)", ErrInterrupted)
	errAgain    = fmt.Errorf("%w (its function is called again)", ErrInterrupted)
	errLost     = fmt.Errorf("%w (%w)", ErrInterrupted, store.ErrRunLost)
)

// A call is one call of the function, with what it has reached. A run that was about to park while another of its goroutines had
// something to do is called again, here and at once: nothing has to be written, handed back or loaded.
type call struct {
	run       *Run
	ctx       context.Context // of the function
	interrupt context.CancelCauseFunc
	patience  time.Duration // how long no step must have been in flight before the run is parked

	output json.RawMessage
	failed *failure

	// Guarded by the run's mu.
	root     *scope
	branches map[string]*scope // by prefix
	reached  map[string]bool   // recorded steps, by key
	ahead    map[string]int    // recorded steps that are not reached yet, by prefix
	patches  map[string]bool   // by key: what Patched has answered
	mismatch *store.Error      // what the function did that it did not do before
	doomed   *store.Error      // what the run ends with whatever the function returns
	closed   bool              // the function has returned
	waits    map[*wait]bool    // what its branches wait for
	parking  bool              // no step begins any more: the run is parked when the function has returned
	refused  bool              // a step was refused because the run is parking
}

const (
	firstPatience = 20 * time.Millisecond
	maxPatience   = 10 * time.Second
)

// newCall prepares a call, more patient than the one before.
func (r *Run) newCall(before *call) *call {
	c := &call{run: r, patience: firstPatience}
	if before != nil {
		c.patience = min(2*before.patience, maxPatience)
	}
	c.ctx, c.interrupt = context.WithCancelCause(r.around)
	c.root = &scope{call: c}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq = 0
	for key, step := range r.recorded {
		r.seq = max(r.seq, step.Seq) // what the call before reached and did not record leaves no gap
		if countsAsAhead(step) {
			if c.ahead == nil {
				c.ahead, c.reached = make(map[string]int), make(map[string]bool)
			}
			c.ahead[prefixOf(key)]++
		}
	}
	r.call = c
	if r.expired { // between two calls
		c.interrupt(ErrDeadline)
	}
	return c
}

// callBody calls the function. What it sets holds even if runtime.Goexit unwinds this goroutine.
func (c *call) callBody() {
	c.failed = errExited
	c.output, c.failed = guard(func() (json.RawMessage, error) { return c.run.body(c.root.on(c.ctx), c.run.input) })
}

// close refuses further steps, and returns why the call was interrupted, what the run is to end with, and what did not match its
// record.
func (c *call) close() (stopped error, doomed, mismatched *store.Error) { //nolint:revive,staticcheck // a reason, not a failure
	stopped = context.Cause(c.ctx)
	c.interrupt(nil)
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	c.closed = true
	if c.run.expired { // perhaps after the call was interrupted for another reason
		stopped = ErrDeadline
	}
	return stopped, c.doomed, c.mismatch
}

// doom ends the run with a failure that cannot be recorded as a step's.
func (c *call) doom(problem *store.Error) error {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if c.doomed == nil {
		c.doomed = problem
		c.interrupt(problem)
	}
	return problem
}

// replaying reports whether a recorded step has not been reached yet.
func (c *call) replaying() bool {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	for _, n := range c.ahead {
		if n > 0 {
			return true
		}
	}
	return false
}
