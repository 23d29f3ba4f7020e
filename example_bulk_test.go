package workflow_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow"
)

// After the fix: all orders that have failed go on from where they were.
func ExampleService_ResumeRuns() {
	fixed := false
	order := workflow.Define("order", func(context.Context, int) (string, error) {
		if !fixed {
			return "", errors.New("the carrier has changed its interface")
		}
		return "shipped", nil
	})
	svc, _, closeAll := working(order)
	defer closeAll()
	var handles []*workflow.Handle[string]
	for n := range 3 {
		handle, err := order.Start(ctx, svc, n)
		must(err)
		if _, err = handle.Result(ctx); err == nil {
			panic("it should fail")
		}
		handles = append(handles, handle)
	}

	fixed = true // in a new release
	failed := workflow.Bulk{Filter: workflow.RunFilter{Workflow: "order", Statuses: []workflow.RunStatus{workflow.RunFailed}}}
	done, err := svc.ResumeRuns(ctx, failed)
	must(err)
	fmt.Println("resumed", done.Changed)
	text, err := order.Handle(svc, handles[0].RunID()).Result(ctx)
	must(err)
	fmt.Println(text)
	// Output:
	// resumed 3
	// shipped
}
