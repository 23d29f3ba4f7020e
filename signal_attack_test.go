package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

func (b *bench) parked(id string) {
	b.t.Helper()
	kit.Until(b.t, "the run is parked", func() bool { return b.get(id).Status == workflow.RunSuspended })
}

var word = workflow.DefineSignal[string]("word")

// A step that was recorded by Poll is no answer to Wait.
func TestAttackPollThenWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.service()
	gate := workflow.DefineSignal[int]("gate")
	first.Register(workflow.Define("w", func(ctx context.Context, _ int) (string, error) {
		_, _, err := word.Poll(ctx)
		if err != nil {
			return "", err
		}
		_, err = gate.Wait(ctx, 0)
		return "old", err
	}))
	stop := kit.Work(t, first)
	second := b.service()
	w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) {
		v, err := word.Wait(ctx, 0)
		if err != nil {
			return "", err
		}
		_, err = gate.Wait(ctx, 0)
		return "new:" + v, err
	})
	second.Register(w)
	h, err := w.Start(t.Context(), first, 1)
	kit.Must(t, err)
	b.parked(h.RunID())
	stop()
	kit.Must(t, gate.Send(t.Context(), second, h.RunID(), 1))
	kit.Work(t, second)
	kit.Until(t, "ended or blocked", func() bool {
		r := b.get(h.RunID())
		return r.Status.Finished() || r.SuspendedFor == workflow.SuspendedBlocked
	})
	r := b.get(h.RunID())
	if r.SuspendedFor != workflow.SuspendedBlocked {
		t.Errorf("run is %s with %s %v", r.Status, r.Output, r.Err)
	}
}

func TestAttackCallAllReplayIsEqual(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(_ context.Context, n int) (json.RawMessage, error) {
		return json.RawMessage(`{"b":"<&>","a":1e3,"long":"é"}`), nil
	})
	b.svc.Register(child)
	var seen []string
	var calls int
	_, _, err := run(b, "parent", func(ctx context.Context, _ int) (int, error) {
		calls++
		rs, err := workflow.CallAll(ctx, "all", child, []int{1, 2})
		if err != nil {
			return 0, err
		}
		seen = append(seen, string(rs[0].Value))
		one, err := workflow.Call(ctx, "one", child, 1)
		if err != nil {
			return 0, err
		}
		seen = append(seen, string(one))
		if err := workflow.Sleep(ctx, "nap", 100*time.Millisecond); err != nil {
			return 0, err
		}
		_, err = word.Wait(ctx, 300*time.Millisecond)
		if errors.Is(err, workflow.ErrTimeout) {
			return 0, nil
		}
		return 0, err
	})
	t.Log(calls, err)
	for i, s := range seen {
		if s != seen[i%2] {
			t.Errorf("differ: %q and %q", s, seen[i%2])
		}
	}
}

func TestAttackCallAllOfNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(child)
	_, n, err := run(b, "parent", func(ctx context.Context, _ int) (int, error) {
		rs, err := workflow.CallAll(ctx, "all", child, nil)
		return len(rs), err
	})
	if n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestAttackOddNames(t *testing.T) {
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

func TestAttackLongNames(t *testing.T) {
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
	t.Log(n, err)
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

// Time-outs of every size.
func TestAttackTimeouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	for name, d := range map[string]time.Duration{"tiny": 1, "us": time.Microsecond, "short": 30 * time.Millisecond} {
		_, _, err := run(b, name, func(ctx context.Context, _ int) (int, error) {
			_, err := word.Wait(ctx, d)
			if !errors.Is(err, workflow.ErrTimeout) || !errors.Is(err, workflow.CodeTimeout) {
				return 0, fmt.Errorf("not a timeout: %w", err)
			}
			var e *workflow.Error
			if !errors.As(err, &e) || e.Step != "word" {
				return 0, fmt.Errorf("not a step's: %v", e)
			}
			return 0, nil
		})
		if err != nil {
			t.Error(name, err)
		}
	}
	long := workflow.Define("long", func(ctx context.Context, _ int) (string, error) { return word.Wait(ctx, math.MaxInt64) })
	b.svc.Register(long)
	h, err := long.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	b.parked(h.RunID())
	if r := b.get(h.RunID()); r.Err != nil || r.Status != workflow.RunSuspended {
		t.Error(r)
	}
	kit.Must(t, word.Send(t.Context(), b.svc, h.RunID(), "x"))
	v, err := h.Result(kit.Context(t))
	if v != "x" || err != nil {
		t.Error(v, err)
	}
	_, _, err = run(b, "negative", func(ctx context.Context, _ int) (string, error) { return word.Wait(ctx, -1) })
	if !strings.Contains(fmt.Sprint(err), "negative") {
		t.Error(err)
	}
}

// A signal that was acknowledged before the time-out wins, however late a worker looks, in branches too; one after it does not.
func TestAttackLateWorkers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a, c := workflow.DefineSignal[int]("a"), workflow.DefineSignal[int]("c")
	w := workflow.Define("w", func(ctx context.Context, _ int) ([]int, error) {
		return workflow.Parallel(ctx, "p", []*workflow.Signal[int]{a, c, a, c, a, c}, func(ctx context.Context, s *workflow.Signal[int]) (int, error) {
			v, err := s.Wait(ctx, 500*time.Millisecond)
			if errors.Is(err, workflow.ErrTimeout) {
				return -1, nil
			}
			return v, err
		})
	})
	first, second := b.service(), b.service()
	first.Register(w)
	second.Register(w)
	stop := kit.Work(t, first)
	var hs []*workflow.Handle[[]int]
	for range 30 {
		h, err := w.Start(t.Context(), first, 1)
		kit.Must(t, err)
		hs = append(hs, h)
	}
	for _, h := range hs {
		b.parked(h.RunID())
	}
	stop()
	for _, h := range hs {
		for range 3 {
			kit.Must(t, a.Send(t.Context(), second, h.RunID(), 1))
			kit.Must(t, c.Send(t.Context(), second, h.RunID(), 1))
		}
	}
	kit.Until(t, "the deadlines have passed", func() bool {
		return kit.One[bool](t, b.db, "SELECT bool_and(wake_at < extract(epoch FROM clock_timestamp()) * 1000 - 50) FROM workflows.workflow_steps")
	})
	kit.Work(t, second)
	for _, h := range hs {
		v, err := w.Handle(second, h.RunID()).Result(kit.Context(t))
		if fmt.Sprint(v) != "[1 1 1 1 1 1]" || err != nil {
			sig, _ := second.ListSignals(t.Context(), h.RunID())
			for _, s := range sig {
				t.Logf("%s %d taken by %q", s.Name, s.Seq, s.TakenBy)
			}
			t.Error(v, err)
		}
	}
}

func TestAttackLateSignal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ap := workflow.DefineApproval[bool]("ap")
	w := workflow.Define("w", func(ctx context.Context, signal bool) (bool, error) {
		if signal {
			_, err := word.Wait(ctx, 200*time.Millisecond)
			return err == nil, nil
		}
		d, err := ap.Ask(ctx, workflow.ApprovalRequest{Within: 200 * time.Millisecond})
		if errors.Is(err, workflow.ErrTimeout) {
			return false, nil
		}
		return d.Value, err
	})
	first, second := b.service(), b.service()
	first.Register(w)
	second.Register(w)
	stop := kit.Work(t, first)
	h1, err := w.Start(t.Context(), first, false)
	kit.Must(t, err)
	h2, err := w.Start(t.Context(), first, true)
	kit.Must(t, err)
	b.parked(h1.RunID())
	b.parked(h2.RunID())
	stop()
	kit.Until(t, "the deadlines have passed", func() bool {
		return kit.One[bool](t, b.db, "SELECT bool_and(wake_at < extract(epoch FROM clock_timestamp()) * 1000 - 50) AND count(*) = 2 FROM workflows.workflow_steps")
	})
	kit.Must(t, ap.Decide(t.Context(), second, workflow.ApprovalID(h1.RunID(), "ap"), "me", true))
	kit.Must(t, word.Send(t.Context(), second, h2.RunID(), "late"))
	kit.Work(t, second)
	for name, h := range map[string]*workflow.Handle[bool]{"approval": h1, "signal": h2} {
		v, err := w.Handle(second, h.RunID()).Result(kit.Context(t))
		if v || err != nil {
			t.Error(name, "after the deadline counted:", v, err)
		}
	}
}

// More than a look's worth of refused decisions before the one that counts.
func TestAttackManyRefusedDecisions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ap := workflow.DefineApproval[bool]("ap")
	w := workflow.Define("w", func(ctx context.Context, _ int) (bool, error) {
		d, err := ap.Ask(ctx, workflow.ApprovalRequest{From: []string{"boss"}, Within: 3 * time.Second})
		return d.Value, err
	})
	first, second := b.service(), b.service()
	first.Register(w)
	second.Register(w)
	stop := kit.Work(t, first)
	var hs []*workflow.Handle[bool]
	for range 4 {
		h, err := w.Start(t.Context(), first, 1)
		kit.Must(t, err)
		b.parked(h.RunID())
		hs = append(hs, h)
	}
	stop()
	for _, h := range hs {
		for range 250 {
			kit.Must(t, ap.Decide(t.Context(), second, workflow.ApprovalID(h.RunID(), "ap"), "me", true))
		}
	}
	for _, h := range hs {
		kit.Must(t, ap.Decide(t.Context(), second, workflow.ApprovalID(h.RunID(), "ap"), "boss", true))
	}
	kit.Until(t, "the deadlines have passed", func() bool {
		return kit.One[bool](t, b.db, "SELECT bool_and(wake_at < extract(epoch FROM clock_timestamp()) * 1000 - 50) FROM workflows.workflow_steps")
	})
	if !kit.One[bool](t, b.db, `SELECT bool_and(sent_at < (SELECT min(wake_at) FROM workflows.workflow_steps)) FROM workflows.workflow_signals`) {
		t.Log("too slow")
	}
	kit.Work(t, second)
	for _, h := range hs {
		v, err := w.Handle(second, h.RunID()).Result(kit.Context(t))
		if !v || err != nil {
			t.Error(v, err)
		}
	}
}
