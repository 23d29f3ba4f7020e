package pg

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ErrTimeout is returned when a call got no answer within Config.Timeout. It may or may not have taken effect.
var ErrTimeout = errors.New("no answer from the database in time")

// timeoutError is the cause of a context that ended after Options.Timeout.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%v: waited %s (see Config.Timeout)", ErrTimeout, e.after)
}

func (e *timeoutError) Unwrap() error { return ErrTimeout }

// Timeout returns the cause to end a context with that bounds statements.
func Timeout(after time.Duration) error { return &timeoutError{after} }

// TimedOut returns what a call says that a caller of [DB.Unbounded] gave up after its own bound, looking at the pool for
// the reason.
func (d *DB) TimedOut(after time.Duration) error {
	stats := d.pool.Stats()
	if stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections {
		return because(&timeoutError{after}, &poolError{size: stats.MaxOpenConnections, err: context.DeadlineExceeded})
	}
	return &timeoutError{after}
}

// A driver that honours its context returns well within grace of its end.
const grace = time.Second

// bounded calls f with a context that ends after Options.Timeout, as await does.
func (d *DB) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := d.Bound(ctx)
	defer cancel()
	return await(ctx, func() error { return f(ctx) })
}

// Bound returns a context that ends after Options.Timeout.
func (d *DB) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.opts.Timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d.opts.Timeout, Timeout(d.opts.Timeout))
}

// Await calls f, which honours ctx if the driver does. When f does not return soon after ctx has ended (lib/pq on a dead
// network), the caller is released and f is left behind: f must not touch anything that the caller uses after an error.
func Await(ctx context.Context, f func() error) error { return await(ctx, f) }

func await(ctx context.Context, f func() error) error {
	if ctx.Done() == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return Blame(ctx, err)
	case <-ctx.Done():
	}

	left := time.NewTimer(grace)
	defer left.Stop()
	select {
	case err := <-done:
		return Blame(ctx, err)
	case <-left.C:
		return Blame(ctx, errors.New("the driver did not return"))
	}
}

// handOver calls get as await does, and returns what that got. What comes after the caller has left is given to drop.
func handOver[T any](ctx context.Context, get func() (T, error), drop func(T)) (T, error) {
	got := make(chan T, 1) // not a variable: a call that was left behind may still write to it
	var settled atomic.Bool
	err := await(ctx, func() error {
		v, err := get()
		if err != nil {
			return err
		}
		got <- v
		if !settled.CompareAndSwap(false, true) {
			drop(<-got)
		}
		return nil
	})
	if err == nil {
		return <-got, nil
	}
	if !settled.CompareAndSwap(false, true) { // it came just when the caller left
		drop(<-got)
	}
	var none T
	return none, err
}

// leave calls f and returns soon even if f does not: on a dead network a driver may neither roll back nor return, and the
// server ends the transaction with the connection.
func leave(f func() error) error {
	ended, end := context.WithCancel(context.Background())
	end()
	return await(ended, f)
}

// Blame puts the reason why ctx ended into the error that its end caused: drivers report it in their own ways.
func Blame(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, ctx.Err()) && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return because(Why(ctx), err)
}

// because joins the reason why a context ended with what that caused. A call that waited for a connection got no answer
// because it asked nothing: its error says that, and how long it waited.
func because(why, err error) error {
	var bound *timeoutError
	if errors.Is(err, ErrNoConnection) && errors.As(why, &bound) {
		return &exhaustedError{bound: bound, err: err}
	}
	return fmt.Errorf("%w: %w", why, err)
}

type exhaustedError struct {
	bound *timeoutError
	err   error
}

func (e *exhaustedError) Error() string {
	return fmt.Sprintf("waited %s (see Config.Timeout): %v", e.bound.after, e.err)
}

func (e *exhaustedError) Unwrap() []error { return []error{e.bound, e.err} }

// Why returns why ctx has ended: its error, and its cause if that says more; nil while it has not.
func Why(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
