package main

import (
	"context"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

// dbosFamily returns how many bytes its n children returned.
func dbosFamily(ctx dbos.Context, n int) (int, error) {
	children := make([]dbos.WorkflowHandle[string], n)
	for i := range children {
		var err error
		if children[i], err = dbos.RunWorkflow(ctx, dbosOneStep, i); err != nil {
			return 0, err
		}
	}
	bytes := 0
	for _, child := range children {
		result, err := child.GetResult()
		if err != nil {
			return 0, err
		}
		bytes += len(result)
	}
	return bytes, nil
}

func dbosWaits(ctx dbos.Context, _ int) (string, error) {
	return dbos.Recv[string](ctx, signalName, waitAtMost)
}

func (s *dbosSystem) Family(_ context.Context, n int) error {
	handle, err := dbos.RunWorkflow(s.ctx, dbosFamily, n)
	if err != nil {
		return err
	}
	bytes, err := handle.GetResult()
	return same(bytes, n*len(stepResult), err)
}

func (s *dbosSystem) Wait(context.Context) (signalled, error) {
	handle, err := dbos.RunWorkflow(s.ctx, dbosWaits, 1)
	if err != nil {
		return nil, err
	}
	return func(context.Context) error {
		if err := dbos.Send(s.ctx, handle.GetWorkflowID(), signalValue, signalName); err != nil {
			return err
		}
		result, err := handle.GetResult()
		return same(result, signalValue, err)
	}, nil
}
