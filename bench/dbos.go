package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

const (
	dbosApp    = "bench"
	dbosWindow = 30 * time.Second // of a shutdown
)

type dbosSystem struct{ ctx dbos.Context }

func dbosTenSteps(ctx dbos.Context, _ int) (int, error) {
	for range stepsPerRun {
		if _, err := dbos.RunAsStep(ctx, step); err != nil {
			return 0, err
		}
	}
	return stepsPerRun, nil
}

func dbosOneStep(ctx dbos.Context, _ int) (string, error) { return dbos.RunAsStep(ctx, step) }

func newDBOS(ctx context.Context, url string) (dbos.Context, error) {
	return dbos.NewContext(ctx, dbos.Config{
		DatabaseURL: withParameters(url, "pool_max_conns=32"), AppName: dbosApp, Logger: slog.New(slog.DiscardHandler),
	})
}

func openDBOS(ctx context.Context, url string, _ int) (system, error) {
	d, err := newDBOS(ctx, url)
	if err != nil {
		return nil, err
	}
	s := &dbosSystem{ctx: d}
	dbos.RegisterWorkflow(d, dbosTenSteps)
	dbos.RegisterWorkflow(d, s.timed)
	dbos.RegisterWorkflow(d, dbosOneStep)
	dbos.RegisterWorkflow(d, dbosFamily)
	dbos.RegisterWorkflow(d, dbosWaits)
	return s, dbos.Launch(d)
}

func (s *dbosSystem) Close() error { return dbos.Shutdown(s.ctx, dbosWindow) }

func (s *dbosSystem) Run(context.Context) error {
	handle, err := dbos.RunWorkflow(s.ctx, dbosTenSteps, 1)
	if err != nil {
		return err
	}
	_, err = handle.GetResult()
	return err
}

// timed returns how long each of n steps took.
func (s *dbosSystem) timed(ctx dbos.Context, n int) ([]time.Duration, error) {
	var all []time.Duration
	for range n {
		began := time.Now()
		if _, err := dbos.RunAsStep(ctx, step); err != nil {
			return nil, err
		}
		all = append(all, time.Since(began))
	}
	return all, nil
}

func (s *dbosSystem) Steps(_ context.Context, n int, took func(time.Duration)) error {
	handle, err := dbos.RunWorkflow(s.ctx, s.timed, n)
	if err != nil {
		return err
	}
	all, err := handle.GetResult()
	for _, d := range all {
		took(d)
	}
	return err
}
