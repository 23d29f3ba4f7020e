package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow"
)

type Refund struct {
	Order string `json:"order"`
	Cents int    `json:"cents"`
}

// A refund goes out when a manager says so. What Eve says does not count, and is kept.
func ExampleApproval() {
	manager := workflow.DefineApproval[bool]("manager")
	refund := workflow.Define("refund", func(ctx context.Context, refund Refund) (string, error) {
		decision, err := manager.Ask(ctx, workflow.ApprovalRequest{
			From: []string{"anna", "ben"}, For: refund, Within: 72 * time.Hour,
		})
		switch {
		case errors.Is(err, workflow.ErrTimeout):
			return "nobody has decided", nil
		case err != nil:
			return "", err
		case !decision.Value:
			return "refused by " + decision.By, nil
		}
		return "approved by " + decision.By, nil
	})
	svc, _, closeAll := working(refund)
	defer closeAll()

	handle, err := refund.Start(ctx, svc, Refund{Order: "17", Cents: 1999}, workflow.WithRunID("refund 17"))
	must(err)
	id := workflow.ApprovalID("refund 17", "manager") // for a link in a mail
	must(manager.Decide(ctx, svc, id, "eve", true))
	must(manager.Decide(ctx, svc, id, "anna", false))

	text, err := handle.Result(ctx)
	must(err)
	fmt.Println(text)
	signals, err := svc.ListSignals(ctx, "refund 17")
	must(err)
	for _, signal := range signals {
		fmt.Printf("%s counts: %t\n", signal.Payload, signal.TakenBy != "")
	}
	// Output:
	// refused by anna
	// {"by": "eve", "value": true} counts: false
	// {"by": "anna", "value": false} counts: true
}

// What waits for Anna, newest first, and her decision from the list.
func ExampleState_ListApprovals() {
	manager := workflow.DefineApproval[bool]("manager")
	refund := workflow.Define("refund", func(ctx context.Context, refund Refund) (bool, error) {
		decision, err := manager.Ask(ctx, workflow.ApprovalRequest{From: []string{"anna"}, For: refund, Within: time.Hour})
		return decision.Value, err
	})
	svc, _, closeAll := working(refund)
	defer closeAll()
	handle, err := refund.Start(ctx, svc, Refund{Order: "17", Cents: 1999})
	must(err)

	var page workflow.ApprovalPage
	for len(page.Approvals) == 0 { // until the run has come to its question
		page, err = svc.ListApprovals(ctx, workflow.ApprovalFilter{From: "anna"})
		must(err)
	}
	for _, open := range page.Approvals {
		var about Refund
		must(open.DecodeFor(&about))
		fmt.Printf("%s asks %v for %d cents, for %s\n", open.Workflow, open.From, about.Cents, open.Until.Sub(open.AskedAt).Round(time.Minute))
		must(manager.Decide(ctx, svc, open.ID, "anna", about.Cents < 5000))
	}

	approved, err := handle.Result(ctx)
	must(err)
	fmt.Println("approved:", approved)
	// Output:
	// refund asks [anna] for 1999 cents, for 1h0m0s
	// approved: true
}
