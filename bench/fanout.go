package main

import (
	"context"
	"errors"
)

// A fanner has a parent whose children are there and do not begin.
type fanner interface {
	family
	// FanOut starts a parent of n children that are delayed for an hour, and returns when the parent is parked.
	FanOut(ctx context.Context, n int) (cancel func(context.Context) error, err error)
}

// runFanOut counts what one parent with many children costs the server right after a checkpoint.
func runFanOut(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, waitingSlots)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	f := sys.(fanner)
	counters, err := openCounters(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer counters.db.Close()
	if err := f.Family(ctx, 2); err != nil { // so that what is done once per process is done
		return nil, err
	}
	var cancel func(context.Context) error
	out, err := counters.afterCheckpoint(ctx, func() (err error) {
		cancel, err = f.FanOut(ctx, t.Count)
		return err
	})
	if err == nil {
		err = cancel(ctx)
	}
	if err != nil {
		return nil, err
	}
	in, err := counters.afterCheckpoint(ctx, func() error { return f.Family(ctx, t.Count) })
	v = values{fanOutWAL: out[wal], fanInWAL: in[wal]}
	if counters.statements {
		v[fanOutStatements], v[fanInStatements] = out[sentStatements], in[sentStatements]
	}
	return v, err
}

// afterCheckpoint returns what the server counts while something is done.
func (c counters) afterCheckpoint(ctx context.Context, do func() error) (values, error) {
	if _, err := c.db.ExecContext(ctx, "CHECKPOINT"); err != nil {
		return nil, err
	}
	before, beforeErr := c.read(ctx)
	err := do()
	after, afterErr := c.read(ctx)
	for name := range after {
		after[name] -= before[name]
	}
	return after, errors.Join(err, beforeErr, afterErr)
}
