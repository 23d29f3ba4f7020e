package main

import (
	"context"
	"time"

	"github.com/cschleiden/go-workflows/client"
	goworkflow "github.com/cschleiden/go-workflows/workflow"
	"github.com/google/uuid"
)

func goOneStep(ctx goworkflow.Context, _ int) (string, error) {
	return goworkflow.ExecuteActivity[string](ctx, goworkflow.DefaultActivityOptions, step).Get(ctx)
}

// goFamily returns how many bytes its n children returned.
func goFamily(ctx goworkflow.Context, n int) (int, error) {
	children := make([]goworkflow.Future[string], n)
	for i := range children {
		children[i] = goworkflow.CreateSubWorkflowInstance[string](ctx, goworkflow.DefaultSubWorkflowOptions, goOneStep, i)
	}
	bytes := 0
	for _, child := range children {
		result, err := child.Get(ctx)
		if err != nil {
			return 0, err
		}
		bytes += len(result)
	}
	return bytes, nil
}

func goWaits(ctx goworkflow.Context, _ int) (string, error) {
	value, _ := goworkflow.NewSignalChannel[string](ctx, signalName).Receive(ctx)
	return value, nil
}

func (g *goWorkflows) Family(ctx context.Context, n int) error {
	instance, err := g.client.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: uuid.NewString()}, goFamily, n)
	if err != nil {
		return err
	}
	bytes, err := client.GetWorkflowResult[int](ctx, g.client, instance, 10*time.Minute)
	return same(bytes, n*len(stepResult), err)
}

func (g *goWorkflows) Wait(ctx context.Context) (signalled, error) {
	instance, err := g.client.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: uuid.NewString()}, goWaits, 1)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := g.client.SignalWorkflow(ctx, instance.InstanceID, signalName, signalValue); err != nil {
			return err
		}
		result, err := client.GetWorkflowResult[string](ctx, g.client, instance, time.Minute)
		return same(result, signalValue, err)
	}, nil
}
