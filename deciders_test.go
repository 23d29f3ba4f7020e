package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// slowly is a decision whose decoding takes its time.
type slowly struct{ N int }

var (
	decoding = make(chan struct{}, 10)
	decoded  = make(chan struct{})
)

func (s *slowly) UnmarshalJSON(text []byte) error {
	if string(text) == `{"N": 13}` {
		decoding <- struct{}{}
		<-decoded
	}
	if string(text) == `{"N": 14}` {
		panic("unlucky")
	}
	type plain slowly
	return json.Unmarshal(text, (*plain)(s))
}

// A decision that takes for ever to decode stops nobody else.
func TestADecisionThatIsSlowToDecode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ap := workflow.DefineApproval[slowly]("slow")
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
		d, err := ap.Ask(ctx, workflow.ApprovalRequest{})
		return d.Value.N, err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	h, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	b.parked(h.RunID())
	id := workflow.ApprovalID(h.RunID(), "slow")
	kit.Must(t, ap.Decide(t.Context(), b.svc, id, "me", slowly{13}))
	<-decoding
	ctx := kit.Within(t, busy)
	for range 3 {
		kit.Must(t, ap.Decide(ctx, b.svc, id, "me", slowly{13}))
	}
	_, _, err = run(b, "other", func(ctx context.Context, _ int) (int, error) {
		_, err := word.Wait(ctx, 700*time.Millisecond)
		if errors.Is(err, workflow.ErrTimeout) {
			err = nil
		}
		return 1, err
	})
	kit.Must(t, err)
	kit.Until(t, "beats", func() bool {
		return kit.One[bool](t, b.db, "SELECT bool_and(expires_at > extract(epoch FROM clock_timestamp()) * 1000) FROM workflows.workflow_workers")
	})
	close(decoded)
	v, err := h.Result(kit.Context(t))
	if v != 13 || err != nil {
		t.Error(v, err)
	}
	h, err = w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	b.parked(h.RunID())
	kit.Must(t, ap.Decide(t.Context(), b.svc, workflow.ApprovalID(h.RunID(), "slow"), "me", slowly{14}))
	_, err = h.Result(kit.Context(t))
	kit.WantIs(t, err, workflow.CodePanic)
}

// Who decides first, who decides wrongly, and who comes too late.
func TestDeciders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	ap, other := workflow.DefineApproval[bool]("ap"), workflow.DefineApproval[string]("ap")
	w := workflow.Define("w", func(ctx context.Context, n int) ([]string, error) {
		return workflow.Parallel(ctx, "p", []int{0, 1}, func(ctx context.Context, i int) (string, error) {
			out := ""
			for range 2 {
				d, err := ap.Ask(ctx, workflow.ApprovalRequest{From: []string{"a", "b"}, For: i})
				if err != nil {
					return "", err
				}
				out += fmt.Sprint(d.By, d.Value, ";")
			}
			return out, nil
		})
	})
	b.svc.Register(w)
	h, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	open := func(n int) []workflow.OpenApproval {
		var page workflow.ApprovalPage
		kit.Until(t, "asked", func() bool {
			page, err = b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{From: "a"})
			kit.Must(t, err)
			return len(page.Approvals) == n
		})
		return page.Approvals
	}
	for _, a := range open(2) {
		kit.Must(t, ap.Decide(t.Context(), b.svc, a.ID, "c", true))
		kit.Must(t, other.Decide(t.Context(), b.svc, a.ID, "a", "yes"))
		kit.Must(t, ap.Decide(t.Context(), b.svc, a.ID, "A", true))
		for _, err := range kit.Together(6, func(i int) error {
			return ap.Decide(t.Context(), b.svc, a.ID, []string{"a", "b"}[i%2], i%2 == 0)
		}) {
			kit.Must(t, err)
		}
	}
	seen := make(map[string]bool)
	page, err := b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{Limit: 1})
	kit.Must(t, err)
	kit.Until(t, "asked again", func() bool {
		page, err = b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{Limit: 1})
		kit.Must(t, err)
		return len(page.Approvals) == 1 && strings.HasSuffix(page.Approvals[0].Step, "#1") && len(open(2)) == 2 && strings.HasSuffix(open(2)[1].Step, "#1")
	})
	for page.Next = ""; ; { // the first page again: which of the two is on it is a matter of chance
		page, err = b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{Limit: 1, Cursor: page.Next})
		kit.Must(t, err)
		for _, a := range page.Approvals {
			if seen[a.ID] {
				t.Error("twice", a.ID)
			}
			seen[a.ID] = true
			if a.Step == "p[0]/ap#1" {
				kit.Must(t, b.svc.SetStepResult(t.Context(), a.RunID, a.Step, map[string]any{"by": "a", "value": true}))
				kit.Must(t, b.svc.SetStepResult(t.Context(), a.RunID, a.Step, map[string]any{"by": "a", "value": true}))
				kit.WantIs(t, b.svc.SetStepResult(t.Context(), a.RunID, a.Step, map[string]any{"by": "b", "value": true}), workflow.ErrStepFinished)
				kit.WantIs(t, b.svc.SetStepError(t.Context(), a.RunID, a.Step, errors.New("x")), workflow.ErrStepFinished)
			}
		}
		if page.Next == "" {
			break
		}
	}
	kit.Must(t, ap.Decide(t.Context(), b.svc, workflow.ApprovalID(h.RunID(), "p[1]/ap#1"), "b", true))
	out, err := h.Result(kit.Context(t))
	if err != nil || !strings.HasSuffix(out[0], ";atrue;") || !strings.HasSuffix(out[1], ";btrue;") {
		t.Error(out, err)
	}
	for _, id := range []string{"", "x", "/", "x/", "/ap", "%zz/ap", h.RunID() + "/other", h.RunID() + "/p[0]/other", strings.Repeat("r", 300) + "/ap", "x/ap\x00"} {
		err := ap.Decide(t.Context(), b.svc, id, "a", true)
		if !errors.Is(err, workflow.ErrInvalidArgument) {
			t.Errorf("id %.20q: %v", id, err)
		}
	}
	for _, by := range []string{"", "\x00", "\xff", strings.Repeat("a", 256)} {
		kit.WantIs(t, ap.Decide(t.Context(), b.svc, workflow.ApprovalID(h.RunID(), "ap"), by, true), workflow.ErrInvalidArgument)
	}
	for _, c := range []string{"x", "1.2", "1.-1.x", "1.99.x", "x.1.x", "1.1", "\x00", strings.Repeat("9", 30) + ".1.xy"} {
		_, err := b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{Cursor: c})
		kit.WantIs(t, err, workflow.ErrInvalidArgument)
	}
	for _, f := range []workflow.ApprovalFilter{{Limit: -1}, {Limit: 1001}, {From: "\x00"}} {
		_, err := b.svc.ListApprovals(t.Context(), f)
		kit.WantIs(t, err, workflow.ErrInvalidArgument)
	}
}
