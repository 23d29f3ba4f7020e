package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

var word = workflow.DefineSignal[string]("word")

func (b *bench) parked(id string) {
	b.t.Helper()
	kit.Until(b.t, "the run is parked", func() bool { return b.get(id).Status == workflow.RunSuspended })
}

// What has no receiver leaves the caller's transaction usable.
func TestSendsInTransactions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ap := workflow.DefineApproval[bool]("ap")
	w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) { return word.Wait(ctx, 0) })
	b.svc.Register(w)
	stop := kit.Work(t, b.svc)
	start := func() string {
		h, err := w.Start(t.Context(), b.svc, 1)
		kit.Must(t, err)
		b.parked(h.RunID())
		return h.RunID()
	}
	cancelled, completed, failed, live := start(), start(), start(), start()
	kit.Must(t, b.svc.Cancel(t.Context(), cancelled))
	kit.Must(t, word.Send(t.Context(), b.svc, completed, "x", workflow.WithKey("k")))
	kit.Until(t, "completed", func() bool { return b.get(completed).Status == workflow.RunCompleted })
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), failed, workflow.RunFailed, nil, errors.New("x")))
	for _, isolation := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		tx := kit.Begin(t, b.db, isolation)
		in := b.svc.In(tx)
		for _, on := range []workflow.Session{b.svc, in} { // who is refused in a transaction holds the run as well
			kit.WantIs(t, word.Send(t.Context(), on, "nobody", "x"), workflow.ErrRunNotFound)
			kit.WantIs(t, ap.Decide(t.Context(), on, workflow.ApprovalID("nobody", "ap"), "me", true), workflow.ErrRunNotFound)
			for _, id := range []string{cancelled, completed, failed} {
				kit.WantIs(t, word.Send(t.Context(), on, id, "x"), workflow.ErrRunFinished)
				kit.WantIs(t, word.Send(t.Context(), on, id, "x", workflow.WithKey("other")), workflow.ErrRunFinished)
				kit.WantIs(t, ap.Decide(t.Context(), on, workflow.ApprovalID(id, "ap"), "me", true), workflow.ErrRunFinished)
			}
			if err := word.Send(t.Context(), on, completed, "x", workflow.WithKey("k")); err != nil {
				t.Error("a key that was sent before:", err)
			}
		}
		kit.Must(t, word.Send(t.Context(), in, live, "rolled back", workflow.WithKey("r")))
		kit.Must(t, word.Send(t.Context(), in, live, "rolled back", workflow.WithKey("r")))
		kit.One[int](t, tx, "SELECT 1")
		kit.Must(t, tx.Rollback())
	}
	if r := b.get(live); r.Status != workflow.RunSuspended {
		t.Error(r.Status)
	}
	if s, err := b.svc.ListSignals(t.Context(), live); err != nil || len(s) > 0 {
		t.Error(s, err)
	}
	tx := kit.Begin(t, b.db)
	kit.Must(t, word.Send(t.Context(), b.svc.In(tx), live, "committed", workflow.WithKey("r")))
	kit.Must(t, tx.Commit())
	b.svc.Wake()
	v, err := w.Handle(b.svc, live).Result(kit.Context(t))
	if v != "committed" || err != nil {
		t.Error(v, err)
	}
	stop()
}

// A run that is not parked on a signal keeps its time when one comes.
func TestOthersAreNotWoken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(parking)
	other := workflow.DefineSignal[string]("other")
	var calls sync.Map
	w := workflow.Define("w", func(ctx context.Context, how string) (string, error) {
		n, _ := calls.LoadOrStore(workflow.RunID(ctx), new(atomic.Int32))
		n.(*atomic.Int32).Add(1)
		if how == "sleep" {
			return "", workflow.Sleep(ctx, "nap", time.Hour)
		}
		return word.Wait(ctx, 0)
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	for _, how := range []string{"sleep", "wait"} {
		h, err := w.Start(t.Context(), b.svc, how)
		kit.Must(t, err)
		b.parked(h.RunID())
		n, _ := calls.Load(h.RunID())
		before := n.(*atomic.Int32).Load()
		for range 10 {
			kit.Must(t, other.Send(t.Context(), b.svc, h.RunID(), "x"))
		}
		_, _, err = run(b, "round "+how, func(ctx context.Context, _ int) (int, error) {
			return 1, workflow.Sleep(ctx, "nap", 200*time.Millisecond)
		})
		kit.Must(t, err)
		if after := n.(*atomic.Int32).Load(); after != before {
			t.Errorf("%s: called %d times more", how, after-before)
		}
	}
	delayed, err := w.Start(t.Context(), b.svc, "wait", workflow.WithDelay(time.Hour))
	kit.Must(t, err)
	kit.Must(t, word.Send(t.Context(), b.svc, delayed.RunID(), "x"))
	byHand, err := w.Start(t.Context(), b.svc, "wait", workflow.WithDelay(time.Hour))
	kit.Must(t, err)
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), byHand.RunID(), workflow.RunRunning, nil, nil))
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), byHand.RunID(), workflow.RunSuspended, nil, nil))
	kit.Must(t, word.Send(t.Context(), b.svc, byHand.RunID(), "x"))
	_, _, err = run(b, "last round", func(ctx context.Context, _ int) (int, error) {
		return 1, workflow.Sleep(ctx, "nap", 200*time.Millisecond)
	})
	kit.Must(t, err)
	if r := b.get(delayed.RunID()); r.Status != workflow.RunPending {
		t.Error(r.Status)
	}
	if r := b.get(byHand.RunID()); r.Status != workflow.RunSuspended || r.SuspendedFor != workflow.SuspendedByHand {
		t.Error(r.Status, r.SuspendedFor)
	}
}

// A step that sends to its own run, in a transaction too.
func TestSendsToItself(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	_, v, err := run(b, "self", func(ctx context.Context, _ int) (string, error) {
		id := workflow.RunID(ctx)
		if _, err := workflow.Do(ctx, "plain", func(ctx context.Context) (int, error) { return 1, word.Send(ctx, b.svc, id, "a") }); err != nil {
			return "", err
		}
		if _, err := workflow.DoTx(ctx, "tx", func(ctx context.Context, tx *sql.Tx) (int, error) {
			return 1, word.Send(ctx, b.svc.In(tx), id, "b")
		}); err != nil {
			return "", err
		}
		if err := word.Send(ctx, b.svc, id, "c", workflow.WithKey("k")); err != nil {
			return "", err
		}
		all := ""
		for range 3 {
			v, err := word.Wait(ctx, 0)
			if err != nil {
				return "", err
			}
			all += v
		}
		_, found, err := word.Poll(ctx)
		if found || err != nil {
			return "", fmt.Errorf("%t %w", found, err)
		}
		return all, nil
	})
	if v != "abc" || err != nil {
		t.Error(v, err)
	}
}

// Two runs whose transactional steps send to each other.
func TestSendsToEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.SetMaxOpenConns(20)
	w := workflow.Define("w", func(ctx context.Context, peer string) (int, error) {
		got := 0
		for i := range 10 {
			if _, err := workflow.DoTx(ctx, "send", func(ctx context.Context, tx *sql.Tx) (int, error) {
				return i, word.Send(ctx, b.svc.In(tx), peer, fmt.Sprint(i))
			}); err != nil {
				return 0, err
			}
			v, err := word.Wait(ctx, 0)
			if err != nil {
				return 0, err
			}
			if v != fmt.Sprint(i) {
				return 0, fmt.Errorf("%q, want %d", v, i)
			}
			got++
		}
		return got, nil
	})
	b.svc.Register(w)
	var hs []*workflow.Handle[int]
	for i := range 4 {
		for _, p := range []string{"a", "b"} {
			peer := map[string]string{"a": "b", "b": "a"}[p]
			h, err := w.Start(t.Context(), b.svc, fmt.Sprint(peer, i), workflow.WithRunID(fmt.Sprint(p, i)))
			kit.Must(t, err)
			hs = append(hs, h)
		}
	}
	kit.Work(t, b.svc)
	for _, h := range hs {
		v, err := h.Result(kit.Within(t, 40*time.Second))
		if v != 10 || err != nil {
			t.Error(h.RunID(), v, err)
		}
	}
}

// An error that was set from outside is not written over by a signal that the run has seen before.
func TestAnErrorFromOutsideStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(func(c *workflow.Config) { c.PollInterval, c.Lease = 200*time.Millisecond, 10*time.Second })
	other := b.service()
	gate := make(chan struct{})
	w := workflow.Define("w", func(ctx context.Context, _ int) ([]string, error) {
		return workflow.Parallel(ctx, "p", []int{0, 1}, func(ctx context.Context, i int) (string, error) {
			if i == 1 {
				return workflow.Do(ctx, "busy", func(context.Context) (string, error) { <-gate; return "busy", nil })
			}
			v, err := word.Wait(ctx, time.Hour)
			if err != nil {
				v = "first: " + err.Error()
			}
			second, err := word.Wait(ctx, time.Hour)
			return v + "; " + second, err
		})
	})
	svc.Register(w)
	kit.Work(t, svc)
	var h *workflow.Handle[[]string]
	step := func() workflow.Step {
		s, err := other.GetStepState(t.Context(), h.RunID(), "p[0]/word")
		kit.Must(t, err)
		return s
	}
	var tx *sql.Tx
	kit.Until(t, "the error comes before the worker's next look", func() bool {
		var err error
		h, err = w.Start(t.Context(), svc, 1)
		kit.Must(t, err)
		kit.Until(t, "open", func() bool { return step().Status == workflow.StepScheduled })
		kit.Must(t, word.Send(t.Context(), other, h.RunID(), "x"))
		tx = kit.Begin(t, b.db)
		err = other.In(tx).SetStepError(t.Context(), h.RunID(), "p[0]/word", errors.New("from outside"))
		if !errors.Is(err, workflow.ErrStepFinished) {
			kit.Must(t, err)
			return true
		}
		kit.Must(t, tx.Rollback())
		kit.Must(t, h.Cancel(t.Context()))
		return false
	})
	kit.Pause(t.Context(), 600*time.Millisecond) // the worker has seen the signal, and cannot write
	kit.Must(t, tx.Commit())
	kit.Until(t, "second", func() bool {
		s, err := other.GetStepState(t.Context(), h.RunID(), "p[0]/word#1")
		kit.Must(t, err)
		return s.Status == workflow.StepSucceeded || s.Status == workflow.StepScheduled && len(kit.Column[string](t, b.db, "SELECT 1 FROM workflows.workflow_steps WHERE step_name = 'p[0]/word#1'")) > 0
	})
	if s := step(); s.Status != workflow.StepFailed {
		t.Errorf("%+v", s)
	}
	close(gate)
	v, err := h.Result(kit.Within(t, 15*time.Second))
	if err != nil || v[0] != "first: from outside; x" {
		t.Error(v, err)
	}
}
