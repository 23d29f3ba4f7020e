package workflow_test

import (
	"context"
	"fmt"

	"github.com/sqlworkflow/workflow"
)

// Runs are found by what the application calls things: a customer, and how far an order is.
func ExampleWithAttributes() {
	order := workflow.Define("order", func(ctx context.Context, n int) (string, error) {
		if err := workflow.SetAttributes(ctx, "shipped", map[string]string{"stage": "shipped"}); err != nil {
			return "", err
		}
		return fmt.Sprint("parcel ", n), nil
	})
	svc, _, closeAll := working(order)
	defer closeAll()
	for n, customer := range []string{"anna", "bert", "anna"} {
		handle, err := order.Start(ctx, svc, n, workflow.WithAttributes(map[string]string{"customer": customer}))
		must(err)
		_, err = handle.Result(ctx)
		must(err)
	}

	page, err := svc.ListRuns(ctx, workflow.RunFilter{Attributes: map[string]string{"customer": "anna", "stage": "shipped"}})
	must(err)
	for _, run := range page.Runs { // the newest first
		fmt.Println(run.Status, string(run.Output))
	}
	// Output:
	// completed "parcel 2"
	// completed "parcel 0"
}
