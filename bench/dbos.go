package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

const (
	dbosQueue  = "bench"
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

func openDBOSWorker(ctx context.Context, url string, slots int) (closer, error) {
	d, err := newDBOS(ctx, url)
	if err != nil {
		return nil, err
	}
	dbos.RegisterWorkflow(d, dbosOneStep, dbos.WithWorkflowName("one step"))
	if err := dbos.Launch(d); err != nil {
		return nil, err
	}
	_, err = dbos.RegisterQueue(d, dbosQueue, dbos.WithWorkerConcurrency(slots), dbos.WithQueueBasePollingInterval(10*time.Millisecond))
	return &dbosSystem{ctx: d}, err
}

type dbosProducer struct {
	client  dbos.Client
	mu      sync.Mutex
	handles []dbos.WorkflowHandle[string]
}

func openDBOSProducer(ctx context.Context, url string) (producer, error) {
	client, err := dbos.NewClient(ctx, dbos.ClientConfig{
		DatabaseURL: withParameters(url, "pool_max_conns=32"), AppName: dbosApp, Logger: slog.New(slog.DiscardHandler),
	})
	return &dbosProducer{client: client}, err
}

func (p *dbosProducer) Close() error { return dbos.Shutdown(p.client, dbosWindow) }

func (p *dbosProducer) Enqueue(context.Context) error {
	handle, err := dbos.Enqueue[string](p.client, dbosQueue, "one step", 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handles = append(p.handles, handle)
	return err
}

func (p *dbosProducer) AwaitAll(ctx context.Context) error {
	return inParallel(ctx, len(p.handles), func(_ context.Context, i int) error {
		_, err := p.handles[i].GetResult(dbos.WithHandlePollingInterval(50 * time.Millisecond))
		return err
	})
}
