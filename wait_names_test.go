package workflow_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

func TestOddNamesOfWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	odd := "a\"b\\,{} NULL\n'é$1 %s"
	child := workflow.Define("c"+odd, func(_ context.Context, s string) (string, error) { return s, nil })
	sig := workflow.DefineSignal[string]("s" + odd)
	ap := workflow.DefineApproval[string]("p:" + odd)
	parent := workflow.Define("p"+odd, func(ctx context.Context, s string) ([]string, error) {
		ctx = workflow.Branch(ctx, "b"+odd)
		rs, err := workflow.CallAll(ctx, "all"+odd, child, []string{odd, "", "NULL", "{}", `"`, `\`, s})
		if err != nil {
			return nil, err
		}
		var out []string
		for _, r := range rs {
			if r.Err != nil {
				return nil, r.Err
			}
			out = append(out, r.Value)
		}
		v, err := sig.Wait(ctx, 0)
		if err != nil {
			return nil, err
		}
		d, err := ap.Ask(ctx, workflow.ApprovalRequest{From: []string{odd}, For: odd})
		return append(out, v, d.By, d.Value), err
	})
	b.svc.Register(child, parent)
	h, err := parent.Start(t.Context(), b.svc, odd, workflow.WithRunID("id/"+odd))
	kit.Must(t, err)
	kit.Must(t, sig.Send(t.Context(), b.svc, h.RunID(), odd, workflow.WithKey(odd)))
	kit.Must(t, sig.Send(t.Context(), b.svc, h.RunID(), "other", workflow.WithKey(odd)))
	var id string
	kit.Until(t, "asked", func() bool {
		p, err := b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{From: odd})
		kit.Must(t, err)
		if len(p.Approvals) > 0 {
			id = p.Approvals[0].ID
		}
		return id != ""
	})
	kit.Must(t, ap.Decide(t.Context(), b.svc, id, odd, odd))
	out, err := h.Result(kit.Context(t))
	kit.Must(t, err)
	if want := fmt.Sprintf("%q", []string{odd, "", "NULL", "{}", `"`, `\`, odd, odd, odd, odd}); fmt.Sprintf("%q", out) != want {
		t.Errorf("%q, want %s", out, want)
	}
}

func TestLongNamesOfWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	long := strings.Repeat("x", 255)
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
	w := workflow.Define("w", func(ctx context.Context, n int) (int, error) { return workflow.Call(ctx, "c", child, n) })
	b.svc.Register(child, w)
	h, err := w.Start(t.Context(), b.svc, 1, workflow.WithRunID(long))
	kit.Must(t, err)
	n, err := h.Result(kit.Context(t))
	if n != 1 || err != nil {
		t.Error(n, err)
	}
	steps, err := b.svc.ListSteps(t.Context(), long)
	kit.Must(t, err)
	for _, s := range steps {
		if _, err := b.svc.GetRun(t.Context(), s.ChildID); err != nil {
			t.Error("child of a run with a long id:", err)
		}
	}

	ap := workflow.DefineApproval[bool](strings.Repeat("y", 1024))
	h2, _ := b.startApproval(ap)
	kit.Until(t, "asked", func() bool {
		s, err := b.svc.GetStepState(t.Context(), h2.RunID(), ap.Name())
		kit.Must(t, err)
		return s.Status == workflow.StepScheduled
	})
	kit.Must(t, ap.Decide(t.Context(), b.svc, workflow.ApprovalID(h2.RunID(), ap.Name()), "me", true))
	_, err = h2.Result(kit.Context(t))
	kit.Must(t, err)
}

var approvalN atomic.Int32

func (b *bench) startApproval(ap *workflow.Approval[bool]) (*workflow.Handle[bool], error) {
	w := workflow.Define(fmt.Sprint("approval", approvalN.Add(1)), func(ctx context.Context, _ int) (bool, error) {
		d, err := ap.Ask(ctx, workflow.ApprovalRequest{For: "x"})
		return d.Value, err
	})
	b.svc.Register(w)
	h, err := w.Start(b.t.Context(), b.svc, 1)
	kit.Must(b.t, err)
	return h, err
}
