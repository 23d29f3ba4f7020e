package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

var (
	// families returns how many bytes its n children returned.
	families = workflow.Define("family", func(ctx context.Context, n int) (int, error) {
		return childrenOf(ctx, n)
	})
	// delayed children do not begin.
	delayed = workflow.Define("delayed family", func(ctx context.Context, n int) (int, error) {
		return childrenOf(ctx, n, workflow.WithDelay(time.Hour))
	})
	goOn  = workflow.DefineSignal[string](signalName)
	waits = workflow.Define("waits", func(ctx context.Context, _ int) (string, error) { return goOn.Wait(ctx, waitAtMost) })
)

func childrenOf(ctx context.Context, n int, options ...workflow.CallOption) (bytes int, err error) {
	children, err := workflow.CallAll(ctx, "children", oneStep, make([]int, n), options...)
	for _, child := range children {
		if child.Err != nil {
			return 0, child.Err
		}
		bytes += len(child.Value)
	}
	return bytes, err
}

func (l *library) Family(ctx context.Context, n int) error {
	handle, err := families.Start(ctx, l.svc, n)
	if err != nil {
		return err
	}
	bytes, err := handle.Result(ctx)
	return same(bytes, n*len(stepResult), err)
}

func (l *library) FanOut(ctx context.Context, n int) (cancel func(context.Context) error, err error) {
	handle, err := delayed.Start(ctx, l.svc, n)
	if err != nil {
		return nil, err
	}
	for {
		const asks = "SELECT /* bench */ status FROM workflows.workflow_runs WHERE id = $1"
		var status string
		if err := l.db.QueryRowContext(ctx, asks, handle.RunID()).Scan(&status); err != nil {
			return nil, err
		}
		switch status {
		case "suspended":
			return handle.Cancel, nil
		case "pending", "running":
			time.Sleep(5 * time.Millisecond)
		default:
			return nil, fmt.Errorf("the parent is %s", status)
		}
	}
}

func (l *library) Wait(ctx context.Context) (signalled, error) {
	handle, err := waits.Start(ctx, l.svc, 1)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := goOn.Send(ctx, l.svc, handle.RunID(), signalValue); err != nil {
			return err
		}
		result, err := handle.Result(ctx)
		return same(result, signalValue, err)
	}, nil
}
