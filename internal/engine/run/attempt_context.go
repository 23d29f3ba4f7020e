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
	ending context.Context // what tells the end; nil until somebody asks or the attempt is over
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
	c.follows = context.AfterFunc(ctx, func() { c.endWith(ctx) })
}

func (c *attemptContext) endWith(ctx context.Context) {
	if cause := context.Cause(ctx); !errors.Is(cause, ErrInterrupted) {
		c.cancel(cause)
	}
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
	cancel := c.cancel
	if c.ending == nil { // nobody has asked, and who asks now need not wait
		c.ending = over
		if c.own.Err() != nil {
			c.ending = c.own
		}
	}
	c.mu.Unlock()
	if cancel != nil {
		cancel(nil)
	}
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// asked returns what tells when the context ends.
func (c *attemptContext) asked() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		c.ending, c.cancel = context.WithCancelCause(c.own)
	}
	return c.ending
}

// known tells as much for now. An attempt that nobody has asked about ends with the run alone, until it is over.
func (c *attemptContext) known() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending != nil {
		return c.ending
	}
	return c.own
}

// Deadline, Done, Err and Value implement context.Context. context.Cause asks for a value as well.

func (c *attemptContext) Deadline() (time.Time, bool) { return c.known().Deadline() }

func (c *attemptContext) Done() <-chan struct{} { return c.asked().Done() }

func (c *attemptContext) Err() error { return c.known().Err() }

func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c.attempt
	}
	if value := c.known().Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}
