package workflow_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Whoever has no types sends by name and decides by id, and what is sent arrives as if by the types.
func TestSendAndDecideWithoutTypes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := workflow.DefineApproval[bool]("release")
	w := workflow.Define("untyped", func(ctx context.Context, _ int) (string, error) {
		n, err := number.Wait(ctx, 0)
		if err != nil {
			return "", err
		}
		decision, err := release.Ask(workflow.Branch(ctx, "eu"), workflow.ApprovalRequest{From: []string{"anna"}})
		return strings.Repeat(decision.By, n), err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	ctx, id := t.Context(), handle.RunID()
	for range 2 {
		kit.Must(t, b.svc.SendSignal(ctx, id, "number", json.RawMessage(`2`), workflow.WithKey("k")))
	}
	approval := workflow.ApprovalID(id, "eu/release")
	tx := kit.Begin(t, b.db)
	kit.Must(t, b.svc.In(tx).DecideApproval(ctx, approval, "anna", true))
	kit.Must(t, tx.Commit())
	b.svc.Wake()
	got, err := handle.Result(kit.Context(t))
	kit.Must(t, err)
	signals, err := b.svc.ListSignals(ctx, id)
	if diff := cmp.Diff("annaanna", got); diff != "" || err != nil || len(signals) != 2 {
		t.Errorf("%s %v: %v", diff, err, signals)
	}
	kit.WantIs(t, b.svc.SendSignal(ctx, id, "approval:release", 1), workflow.ErrInvalidArgument)
	kit.WantIs(t, b.svc.SendSignal(ctx, id, "", 1), workflow.ErrInvalidArgument)
	kit.WantIs(t, b.svc.SendSignal(ctx, id, "number", 1), workflow.ErrRunFinished)
	kit.WantIs(t, b.svc.SendSignal(ctx, "nobody", "number", 1), workflow.ErrRunNotFound)
	kit.WantIs(t, b.svc.DecideApproval(ctx, "no id", "anna", true), workflow.ErrInvalidArgument)
	kit.WantIs(t, b.svc.DecideApproval(ctx, approval, "", true), workflow.ErrInvalidArgument)
	kit.WantIs(t, b.svc.DecideApproval(ctx, approval, "anna", true), workflow.ErrRunFinished)
}
