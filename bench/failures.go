package main

import (
	"context"
	"errors"
	"time"
)

// A failer has steps that fail.
type failer interface {
	// Fail starts a run whose one step fails so many times before it succeeds, and returns when its result is known.
	Fail(ctx context.Context, times int) error
}

const (
	failuresPerRun = 10
	failuresPerSec = "failed attempts/s"
)

// runFailures counts failed attempts, in runs of which there are so many at a time.
func runFailures(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, waitingSlots)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	f := sys.(failer)
	v, err = runOperations(ctx, t, func(ctx context.Context, _ int) (time.Duration, error) {
		began := time.Now()
		err := f.Fail(ctx, failuresPerRun)
		return time.Since(began), err
	})
	if err == nil {
		v[failuresPerSec] = failuresPerRun * v[runsPerSecond]
	}
	return v, err
}
