package workflow

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Parallel calls f for each item, each in a goroutine and a [Branch] of its own (name[0], name[1] and so on), and returns the
// results in the order of the items when all have ended:
//
//	pages, err := workflow.Parallel(ctx, "fetch", urls, func(ctx context.Context, url string) (Page, error) {
//		return workflow.Do(ctx, "get", func(ctx context.Context) (Page, error) { … })
//	}, workflow.WithLimit(10))
//
// f is part of the workflow's function: what is not in a step of its own must do the same each time. An item that fails does
// not stop the others: the result of that item is the zero value, and the error joins those of all items, in their order, each
// as an [ItemError]. When the run is interrupted ([ErrInterrupted]) that is the error; return it.
//
// The number of items must be the same each time. name obeys the rules of a step's name.
func Parallel[In, Out any](
	ctx context.Context, name string, items []In, f func(ctx context.Context, item In) (Out, error), options ...ParallelOption,
) ([]Out, error) {
	var c parallelConfig
	for _, option := range options {
		option(&c)
	}
	if err := checkStepName(name); err != nil {
		return nil, err
	}
	if c.limit < 0 {
		return nil, fmt.Errorf("workflow: parallel %q: %w: the limit must not be negative", name, ErrInvalidArgument)
	}
	if c.limit == 0 || c.limit > len(items) {
		c.limit = len(items)
	}
	results, errs := make([]Out, len(items)), make([]error, len(items))
	places := make(chan struct{}, max(c.limit, 1))
	var group sync.WaitGroup
	var interrupted error
	for i, item := range items {
		places <- struct{}{}
		if interrupted = interruption(ctx); interrupted != nil { // what began now would only be refused, and have f called again
			break
		}
		group.Add(1)
		go func() {
			defer group.Done()
			defer func() { <-places }()
			defer func() {
				if p := recover(); p != nil { // in a goroutine of ours it would end the process
					errs[i] = panicOf(p)
				}
			}()
			errs[i] = errExited
			results[i], errs[i] = f(Branch(ctx, fmt.Sprintf("%s[%d]", name, i)), item)
		}()
	}
	group.Wait()
	if interrupted != nil {
		return nil, interrupted
	}
	for i, err := range errs {
		if errors.Is(err, ErrInterrupted) {
			return nil, err
		}
		if err != nil {
			errs[i] = &ItemError{Name: name, Index: i, Err: err}
		}
	}
	return results, errors.Join(errs...)
}

// interruption returns why the call of the workflow's function is interrupted, nil while it is not.
func interruption(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrInterrupted) {
		return cause
	}
	return nil
}

// ItemError says which item of [Parallel] an error is of.
type ItemError struct {
	Name  string // that Parallel was called with
	Index int    // of the item, from 0
	Err   error
}

// Error names the item.
func (e *ItemError) Error() string { return fmt.Sprintf("%s[%d]: %s", e.Name, e.Index, e.Err) }

// Unwrap returns the item's error.
func (e *ItemError) Unwrap() error { return e.Err }

// A ParallelOption changes how [Parallel] works.
type ParallelOption func(*parallelConfig)

type parallelConfig struct{ limit int }

// WithLimit bounds how many items are under way at once. Defaults to all of them.
func WithLimit(n int) ParallelOption { return func(c *parallelConfig) { c.limit = n } }
