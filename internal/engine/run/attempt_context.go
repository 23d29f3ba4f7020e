package run

import (
	"context"
	"errors"
	"sync"
	"time"
)

// An attemptContext is the context of an attempt. It carries what the context of the step does, and ends with the run and with the
// attempt, but not when the call is interrupted, which lets steps finish. Most functions of steps never ask when it ends: what would
// tell them is made when somebody asks.
type attemptContext struct {
	attempt *attempt
	values  context.Context // of the step
	own     context.Context // of the run

	// Of an attempt that may end by more than that.
	follows func() bool        // stops following the context of the step
	bounds  context.CancelFunc // stops the timer

	mu     sync.Mutex
	over   bool            // the attempt is
	ending context.Context // nil until somebody asks
	cancel context.CancelCauseFunc
}

// begin gives an attempt its context.
func (c *attemptContext) begin(ctx context.Context, a *attempt, timeout time.Duration) {
	r := a.call.run
	c.attempt, c.values, c.own = a, ctx, r.own
	if ctx.Done() != a.call.ctx.Done() || r.deadline != nil { // it can end by more than an interruption
		c.follow(ctx)
	}
	if timeout > 0 {
		ending := c.asked()
		c.ending, c.bounds = context.WithTimeoutCause(ending, timeout, errStepTimeout)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a.ctx = c
}

// follow ends the attempt with the context of the step, unless that was interrupted.
func (c *attemptContext) follow(ctx context.Context) {
	c.asked()
	c.follows = context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, ErrInterrupted) {
			c.cancel(cause)
		}
	})
}

// end ends the context with the attempt.
func (c *attemptContext) end() {
	if c.follows != nil {
		c.follows()
	}
	if c.bounds != nil {
		c.bounds()
	}
	c.mu.Lock()
	c.over = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel(nil)
	}
}

// asked returns what tells when the context ends.
func (c *attemptContext) asked() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		c.ending, c.cancel = context.WithCancelCause(c.own)
		if c.over {
			c.cancel(nil)
		}
	}
	return c.ending
}

// known is what tells as much, as far as somebody has asked.
func (c *attemptContext) known() (ending context.Context, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending != nil {
		return c.ending, false
	}
	return c.own, c.over
}

// Deadline, Done, Err and Value implement context.Context. context.Cause asks for a value as well.

func (c *attemptContext) Deadline() (time.Time, bool) {
	ending, _ := c.known()
	return ending.Deadline()
}

func (c *attemptContext) Done() <-chan struct{} { return c.asked().Done() }

func (c *attemptContext) Err() error {
	ending, over := c.known()
	if err := ending.Err(); err != nil || !over {
		return err
	}
	return context.Canceled
}

func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c.attempt
	}
	ending, _ := c.known()
	if value := ending.Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}
