package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Time-outs of every size.
func TestTimeoutsOfEverySize(t *testing.T) {
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

// endWaits makes the deadlines of all waits pass now.
func (b *bench) endWaits() {
	b.t.Helper()
	kit.Exec(b.t, b.db, `
		UPDATE workflows.workflow_steps SET wake_at = 1 + floor(extract(epoch FROM clock_timestamp()) * 1000);
		UPDATE workflows.workflow_runs SET run_at = 1 + floor(extract(epoch FROM clock_timestamp()) * 1000)`)
}

// A signal that was acknowledged before the time-out wins, however late a worker looks, in branches too; one after it does not.
func TestSignalsInTimeWinBeforeLateWorkers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a, c := workflow.DefineSignal[int]("a"), workflow.DefineSignal[int]("c")
	w := workflow.Define("w", func(ctx context.Context, _ int) ([]int, error) {
		return workflow.Parallel(ctx, "p", []*workflow.Signal[int]{a, c, a, c, a, c}, func(ctx context.Context, s *workflow.Signal[int]) (int, error) {
			v, err := s.Wait(ctx, time.Hour)
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
	for range 8 {
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
	b.endWaits()
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

func TestLateSignalsDoNotCount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ap := workflow.DefineApproval[bool]("ap")
	w := workflow.Define("w", func(ctx context.Context, signal bool) (bool, error) {
		if signal {
			_, err := word.Wait(ctx, time.Second)
			return err == nil, nil
		}
		d, err := ap.Ask(ctx, workflow.ApprovalRequest{Within: time.Second})
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
func TestADecisionBehindManyThatAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ap := workflow.DefineApproval[bool]("ap")
	w := workflow.Define("w", func(ctx context.Context, _ int) (bool, error) {
		d, err := ap.Ask(ctx, workflow.ApprovalRequest{From: []string{"boss"}, Within: time.Hour})
		return d.Value, err
	})
	first, second := b.service(), b.service()
	first.Register(w)
	second.Register(w)
	stop := kit.Work(t, first)
	var hs []*workflow.Handle[bool]
	for range 2 {
		h, err := w.Start(t.Context(), first, 1)
		kit.Must(t, err)
		b.parked(h.RunID())
		hs = append(hs, h)
	}
	stop()
	for _, h := range hs {
		for range 120 {
			kit.Must(t, ap.Decide(t.Context(), second, workflow.ApprovalID(h.RunID(), "ap"), "me", true))
		}
	}
	for _, h := range hs {
		kit.Must(t, ap.Decide(t.Context(), second, workflow.ApprovalID(h.RunID(), "ap"), "boss", true))
	}
	b.endWaits()
	kit.Until(t, "the deadlines have passed", func() bool {
		return kit.One[bool](t, b.db, "SELECT bool_and(wake_at < extract(epoch FROM clock_timestamp()) * 1000 - 50) FROM workflows.workflow_steps")
	})
	kit.Work(t, second)
	for _, h := range hs {
		v, err := w.Handle(second, h.RunID()).Result(kit.Context(t))
		if !v || err != nil {
			t.Error(v, err)
		}
	}
}

// A run that failed because nobody came is resumed, and asks again; what came meanwhile counts.
func TestResumeAfterATimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	ap := workflow.DefineApproval[bool]("ap")
	w := workflow.Define("w", func(ctx context.Context, how string) (bool, error) {
		if how == "ask" {
			d, err := ap.Ask(ctx, workflow.ApprovalRequest{Within: 300 * time.Millisecond})
			return d.Value, err
		}
		v, err := word.Wait(ctx, 300*time.Millisecond)
		return v == "x", err
	})
	b.svc.Register(w)
	for _, how := range []string{"ask", "wait"} {
		h, err := w.Start(t.Context(), b.svc, how)
		kit.Must(t, err)
		_, err = h.Result(kit.Context(t))
		kit.WantIs(t, err, workflow.CodeTimeout)
		if errors.Is(err, workflow.ErrTimeout) {
			t.Error("that a run failed by a time-out is not that nobody answered whoever asks for it")
		}
		kit.WantIs(t, word.Send(t.Context(), b.svc, h.RunID(), "x"), workflow.ErrRunFinished)
		kit.Must(t, b.svc.Resume(t.Context(), h.RunID()))
		if how == "ask" {
			kit.Must(t, ap.Decide(t.Context(), b.svc, workflow.ApprovalID(h.RunID(), "ap"), "me", true))
		} else {
			kit.Must(t, word.Send(t.Context(), b.svc, h.RunID(), "x"))
		}
		v, err := h.Result(kit.Context(t))
		if !v || err != nil {
			t.Error(how, v, err)
		}
	}
}
