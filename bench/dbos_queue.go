package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

func openDBOSWorker(ctx context.Context, url string, q queueing) (closer, error) {
	options := []dbos.QueueOption{dbos.WithWorkerConcurrency(q.here()), dbos.WithQueueBasePollingInterval(10 * time.Millisecond)}
	if q.atOnce > 0 {
		options = append(options, dbos.WithGlobalConcurrency(q.atOnce))
	}
	if q.partitions > 0 {
		// There are partitions only where they have a limit. This one is as wide as it may be, and so bounds nothing.
		options = append(options, dbos.WithPartitionConcurrency(q.here()))
	}
	return launchDBOS(ctx, url, options, func(d dbos.Context) {
		dbos.RegisterWorkflow(d, dbosOneStep, dbos.WithWorkflowName(oneStepName))
	})
}

// launchDBOS begins to execute the workflows of a queue. The queue is there before: else its runs would wait for the next look at
// which queues there are, for a second at most.
func launchDBOS(ctx context.Context, url string, options []dbos.QueueOption, register func(dbos.Context)) (closer, error) {
	d, err := newDBOS(ctx, url)
	if err != nil {
		return nil, err
	}
	register(d)
	_, err = dbos.RegisterQueue(d, queueName, options...)
	if err == nil {
		err = dbos.Launch(d)
	}
	if err != nil {
		return nil, errors.Join(err, dbos.Shutdown(d, dbosWindow))
	}
	return &dbosSystem{ctx: d}, nil
}

type dbosProducer struct {
	queueing
	client  dbos.Client
	mu      sync.Mutex
	handles []dbos.WorkflowHandle[string]
}

func newDBOSClient(ctx context.Context, url string) (dbos.Client, error) {
	return dbos.NewClient(ctx, dbos.ClientConfig{
		DatabaseURL: withParameters(url, "pool_max_conns=32"), AppName: dbosApp, Logger: slog.New(slog.DiscardHandler),
	})
}

func openDBOSProducer(ctx context.Context, url string, q queueing) (producer, error) {
	client, err := newDBOSClient(ctx, url)
	return &dbosProducer{client: client, queueing: q}, err
}

func (p *dbosProducer) Close() error { return dbos.Shutdown(p.client, dbosWindow) }

func (p *dbosProducer) Enqueue(_ context.Context, run int) error {
	var options []dbos.EnqueueOption
	if p.partitions > 0 {
		options = append(options, dbos.WithEnqueueQueuePartitionKey(p.partition(run)))
	}
	handle, err := dbos.Enqueue[string](p.client, queueName, oneStepName, 1, options...)
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
