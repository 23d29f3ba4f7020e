package workflow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
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
func TestAttackSlowDecision(t *testing.T) {
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
	ctx := kit.Within(t, 5*time.Second)
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
	t.Log(err)
	kit.WantIs(t, err, workflow.CodePanic)
}

// What has no receiver leaves the caller's transaction usable.
func TestAttackSendsInTransactions(t *testing.T) {
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
func TestAttackOthersAreNotWoken(t *testing.T) {
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

// Branches that wait for one name share what comes, each signal once, in every replay.
func TestAttackSharedByBranches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 20
	num := workflow.DefineSignal[int]("num")
	w := workflow.Define("w", func(ctx context.Context, _ int) ([]int, error) {
		return workflow.Parallel(ctx, "p", make([]int, n), func(ctx context.Context, _ int) (int, error) {
			a, err := num.Wait(ctx, 0)
			if err != nil {
				return 0, err
			}
			if _, err := workflow.Do(ctx, "s", value(1)); err != nil {
				return 0, err
			}
			c, err := num.Wait(ctx, time.Hour)
			return a*1000 + c, err
		})
	})
	services := []*workflow.Service{b.service(), b.service()}
	for _, svc := range services {
		svc.Register(w)
		kit.Work(t, svc)
	}
	h, err := w.Start(t.Context(), services[0], 1)
	kit.Must(t, err)
	for _, err := range kit.Together(8, func(i int) error {
		for k := range n * 2 / 8 {
			if err := num.Send(t.Context(), services[i%2], h.RunID(), 1+i*n*2/8+k); err != nil {
				return err
			}
			kit.Pause(t.Context(), time.Duration(i*k)*time.Millisecond)
		}
		return nil
	}) {
		kit.Must(t, err)
	}
	got, err := h.Result(kit.Context(t))
	kit.Must(t, err)
	seen := make(map[int]bool)
	for _, v := range got {
		seen[v/1000], seen[v%1000] = true, true
	}
	if len(seen) != 2*n {
		t.Error(len(seen), got)
	}
	signals, err := services[0].ListSignals(t.Context(), h.RunID())
	kit.Must(t, err)
	by := make(map[string]bool)
	for _, s := range signals {
		if s.TakenBy == "" || by[s.TakenBy] {
			t.Errorf("%+v", s)
		}
		by[s.TakenBy] = true
	}
}

// A branch that waits in place hears of what another process sends.
func TestAttackWaitBesideABusyBranch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := make(chan struct{})
	var after atomic.Bool
	w := workflow.Define("w", func(ctx context.Context, _ int) ([]string, error) {
		return workflow.Parallel(ctx, "p", []int{0, 1}, func(ctx context.Context, i int) (string, error) {
			if i == 0 {
				return workflow.Do(ctx, "busy", func(context.Context) (string, error) { <-release; return "busy", nil })
			}
			v, err := word.Wait(ctx, time.Hour)
			if err == nil {
				_, err = workflow.Do(ctx, "after", func(context.Context) (int, error) { after.Store(true); return 1, nil })
			}
			return v, err
		})
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	h, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	kit.Until(t, "open", func() bool {
		s, err := b.svc.GetStepState(t.Context(), h.RunID(), "p[1]/word")
		kit.Must(t, err)
		return s.Status == workflow.StepScheduled
	})
	kit.Must(t, word.Send(t.Context(), b.service(), h.RunID(), "x"))
	kit.Until(t, "the other branch goes on", after.Load)
	close(release)
	_, err = h.Result(kit.Context(t))
	kit.Must(t, err)
}

// What a parent leaves behind.
func TestAttackFamilies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	leaf := workflow.Define("leaf", func(ctx context.Context, n int) (int, error) { return goOn.Wait(ctx, 0) })
	parent := workflow.Define("parent", func(ctx context.Context, how string) ([]string, error) {
		h1, err := workflow.Spawn(ctx, "spawned", leaf, 1)
		if err != nil {
			return nil, err
		}
		h2, err := workflow.Spawn(ctx, "abandoned", leaf, 2, workflow.Abandon())
		if err != nil {
			return nil, err
		}
		switch how {
		case "fail":
			return nil, errors.New("no")
		case "complete":
			return []string{h1.RunID(), h2.RunID()}, nil
		case "panic":
			panic("x")
		}
		_, err = workflow.Call(ctx, "called", leaf, 1)
		return nil, err
	})
	b.svc.Register(leaf, parent)
	for how, want := range map[string]workflow.RunStatus{
		"fail": workflow.RunSuspended, "panic": workflow.RunSuspended, "complete": workflow.RunSuspended,
		"deadline": workflow.RunSuspended, "cancel": workflow.RunCancelled,
	} {
		var o []workflow.StartOption
		if how == "deadline" {
			o = append(o, workflow.WithDeadline(300*time.Millisecond))
		}
		h, err := parent.Start(t.Context(), b.svc, how, o...)
		kit.Must(t, err)
		children := func() map[string]workflow.RunStatus {
			page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{ParentID: h.RunID()})
			kit.Must(t, err)
			m := make(map[string]workflow.RunStatus)
			for _, r := range page.Runs {
				m[string(r.Input)+r.ParentStep] = r.Status
			}
			return m
		}
		if how == "cancel" {
			kit.Until(t, "children wait", func() bool { return len(children()) == 3 })
			kit.Must(t, h.Cancel(t.Context()))
		}
		_, err = h.Result(kit.Context(t))
		deadline := time.Now().Add(8 * time.Second)
		for time.Now().Before(deadline) && (children()["1"] != want || how == "deadline" && children()["1called"] != workflow.RunCancelled) {
			kit.Pause(t.Context(), 50*time.Millisecond)
		}
		t.Log(how, err, children())
		if got := children(); got["1"] != want || got["2"].Finished() || how == "deadline" && got["1called"] != workflow.RunCancelled {
			t.Errorf("%s: %v", how, got)
		}
	}
}

// An abandoned child ends while its parent is cancelled, which is resumed then.
func TestAttackAbandonedAndResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	leaf := workflow.Define("leaf", func(ctx context.Context, n int) (int, error) { return goOn.Wait(ctx, 0) })
	parent := workflow.Define("parent", func(ctx context.Context, _ int) (int, error) {
		return workflow.Call(ctx, "c", leaf, 1, workflow.Abandon())
	})
	b.svc.Register(leaf, parent)
	for _, when := range []string{"before", "after"} {
		h, err := parent.Start(t.Context(), b.svc, 1)
		kit.Must(t, err)
		b.parked(h.RunID())
		s, err := b.svc.GetStepState(t.Context(), h.RunID(), "c")
		kit.Must(t, err)
		b.parked(s.ChildID)
		kit.Must(t, h.Cancel(t.Context()))
		if b.get(s.ChildID).Status == workflow.RunCancelled {
			t.Fatal("cancelled")
		}
		if when == "after" {
			kit.Must(t, b.svc.Resume(t.Context(), h.RunID()))
		}
		kit.Must(t, goOn.Send(t.Context(), b.svc, s.ChildID, 42))
		kit.Until(t, "ended", func() bool { return b.get(s.ChildID).Status == workflow.RunCompleted })
		if when == "before" {
			kit.Must(t, b.svc.Resume(t.Context(), h.RunID()))
		}
		v, err := h.Result(kit.Within(t, 10*time.Second))
		if v != 42 || err != nil {
			t.Error(when, v, err)
		}
	}
}

// One story on each way to the database.
func TestAttackEveryAccess(t *testing.T) {
	t.Parallel()
	for _, access := range pgtest.Accesses {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			pg := pgtest.New(t)
			db := pg.Open(t, access)
			svc, err := workflow.New(workflow.Config{DB: db, Lease: 5 * time.Second, PollInterval: 20 * time.Millisecond, Concurrency: 2})
			kit.Must(t, err)
			t.Cleanup(func() { kit.Must(t, svc.Close()) })
			ap := workflow.DefineApproval[bool]("ap")
			leaf := workflow.DefineStep("leaf", func(ctx context.Context, n int) (int, error) {
				if n == 13 {
					return 0, workflow.Final(workflow.Code("unlucky"))
				}
				return n * n, nil
			})
			parent := workflow.Define("parent", func(ctx context.Context, n int) (string, error) {
				rs, err := workflow.CallAll(ctx, "all", leaf, []int{1, 2, 13, 4})
				if err != nil {
					return "", err
				}
				if !errors.Is(rs[2].Err, workflow.Code("unlucky")) {
					return "", fmt.Errorf("third: %w", rs[2].Err)
				}
				one, err := workflow.Call(ctx, "one", leaf, 5)
				if err != nil {
					return "", err
				}
				if _, err := workflow.Spawn(ctx, "bg", leaf, 6); err != nil {
					return "", err
				}
				v, err := word.Wait(ctx, time.Minute)
				if err != nil {
					return "", err
				}
				if _, err := word.Wait(ctx, 50*time.Millisecond); !errors.Is(err, workflow.ErrTimeout) {
					return "", fmt.Errorf("second: %w", err)
				}
				_, found, err := word.Poll(ctx)
				if err != nil || found {
					return "", fmt.Errorf("poll %t: %w", found, err)
				}
				d, err := ap.Ask(ctx, workflow.ApprovalRequest{From: []string{"boss"}, Within: time.Minute})
				return fmt.Sprint(rs[0].Value, rs[1].Value, rs[3].Value, one, v, d.By, d.Value), err
			})
			svc.Register(leaf, parent)
			kit.Work(t, svc)
			h, err := parent.Start(t.Context(), svc, 1)
			kit.Must(t, err)
			tx := kit.Begin(t, db)
			kit.Must(t, word.Send(t.Context(), svc.In(tx), h.RunID(), `w"\o`, workflow.WithKey("k")))
			kit.WantIs(t, word.Send(t.Context(), svc.In(tx), "nobody", "w"), workflow.ErrRunNotFound)
			kit.Must(t, tx.Commit())
			svc.Wake()
			kit.Must(t, word.Send(t.Context(), svc, h.RunID(), "again", workflow.WithKey("k")))
			var id string
			kit.Until(t, "asked", func() bool {
				p, err := svc.ListApprovals(t.Context(), workflow.ApprovalFilter{})
				kit.Must(t, err)
				if len(p.Approvals) > 0 {
					id = p.Approvals[0].ID
				}
				return id != ""
			})
			kit.Must(t, ap.Decide(t.Context(), svc, id, "me", false))
			kit.Must(t, ap.Decide(t.Context(), svc, id, "boss", true))
			v, err := h.Result(kit.Context(t))
			if want := fmt.Sprint(1, 4, 16, 25, `w"\o`, "boss", true); v != want || err != nil {
				t.Errorf("%q, want %q: %v", v, want, err)
			}
		})
	}
}
