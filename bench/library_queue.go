package main

import (
	"context"
	"errors"
	"sync"

	"github.com/sqlworkflow/workflow"
)

func (o libraryOn) openWorker(ctx context.Context, url string, q queueing) (closer, error) {
	l, err := o.openQueue(ctx, url, q, q.slots)
	if err != nil {
		return nil, err
	}
	l.svc.Register(oneStep)
	l.work()
	return l, nil
}

func (o libraryOn) openProducer(ctx context.Context, url string, q queueing) (producer, error) {
	l, err := o.openQueue(ctx, url, q, 1)
	if err != nil {
		return nil, err
	}
	return &libraryProducer{library: l, queueing: q}, nil
}

func (o libraryOn) openQueue(ctx context.Context, url string, q queueing, slots int) (*library, error) {
	l, err := o.open(ctx, url, workflow.Config{Concurrency: slots})
	if err != nil || !q.named {
		return l, err
	}
	if err := l.svc.EnsureQueue(ctx, workflow.Queue{Name: queueName, MaxRunning: q.atOnce}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

type libraryProducer struct {
	*library
	queueing
	mu      sync.Mutex
	handles []*workflow.Handle[string]
}

func (p *libraryProducer) Enqueue(ctx context.Context, run int) error {
	var options []workflow.StartOption
	if p.named {
		options = append(options, workflow.WithQueue(queueName))
	}
	if p.partitions > 0 {
		options = append(options, workflow.WithPartition(p.partition(run)))
	}
	handle, err := oneStep.Start(ctx, p.svc, 1, options...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handles = append(p.handles, handle)
	return err
}

func (p *libraryProducer) AwaitAll(ctx context.Context) error {
	return inParallel(ctx, len(p.handles), func(ctx context.Context, i int) error {
		_, err := p.handles[i].Result(ctx)
		return err
	})
}
