package workflow_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A page for operators has names and JSON, and no types: it sends a signal by its name, and decides an approval by its id.
func ExampleState_SendSignal() {
	paid := workflow.DefineSignal[map[string]int]("paid")
	release := workflow.DefineApproval[bool]("release")
	settle := workflow.Define("settle", func(ctx context.Context, _ int) (string, error) {
		payment, err := paid.Wait(ctx, time.Hour)
		if err != nil {
			return "", err
		}
		decision, err := release.Ask(ctx, workflow.ApprovalRequest{From: []string{"anna"}, For: payment})
		return fmt.Sprint(payment["cents"], " cents released by ", decision.By), err
	})
	svc, _, closeAll := working(settle)
	defer closeAll()
	handle, err := settle.Start(ctx, svc, 0)
	must(err)

	must(svc.SendSignal(ctx, handle.RunID(), "paid", json.RawMessage(`{"cents": 1999}`), workflow.WithKey("evt_1")))
	must(svc.DecideApproval(ctx, workflow.ApprovalID(handle.RunID(), "release"), "anna", json.RawMessage(`true`)))
	fmt.Println(handle.Result(ctx))
	// Output: 1999 cents released by anna <nil>
}

// Who works, where, and on how much.
func ExampleService_ListWorkers() {
	svc, _, closeAll := working(workflow.Define("nothing to do", func(_ context.Context, in int) (int, error) { return in, nil }))
	defer closeAll()
	var workers []workflow.Worker
	for look := time.Tick(20 * time.Millisecond); len(workers) == 0; <-look {
		var err error
		workers, err = svc.ListWorkers(ctx)
		must(err)
	}
	for _, w := range workers {
		fmt.Println(w.Alive, w.PID == os.Getpid(), w.Workflows, w.Executing)
	}
	// Output: true true [nothing to do] 0
}
