package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Branches wait for one thing each while runs park, time out and are handed from one worker to another.
func TestAttackStorm(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.SetMaxOpenConns(40)
	runs, rounds := 40, 3
	if pgtest.Full() {
		runs, rounds = 300, 6
	}
	names := []*workflow.Signal[int]{workflow.DefineSignal[int]("a"), workflow.DefineSignal[int]("b"), workflow.DefineSignal[int]("c")}
	leaf := workflow.Define("leaf", func(ctx context.Context, n int) (int, error) {
		if n%3 == 0 {
			return n, workflow.Sleep(ctx, "nap", time.Duration(n%50)*time.Millisecond)
		}
		return n, nil
	})
	w := workflow.Define("w", func(ctx context.Context, rounds int) (int, error) {
		rs, err := workflow.Parallel(ctx, "p", []int{0, 1, 2, 3}, func(ctx context.Context, i int) (int, error) {
			sum := 0
			for r := range rounds {
				if i == 3 {
					v, err := workflow.CallAll(ctx, "c", leaf, []int{1 + r, 2 + r, 3 + r})
					if err != nil {
						return 0, err
					}
					sum += len(v)
					continue
				}
				timeout := time.Hour
				if r%2 == 1 {
					timeout = 0
				}
				v, err := names[i].Wait(ctx, timeout)
				if err != nil {
					return 0, err
				}
				if v != r {
					return 0, fmt.Errorf("%s: %d, want %d", names[i].Name(), v, r)
				}
				sum++
			}
			return sum, nil
		})
		if err != nil {
			return 0, err
		}
		return rs[0] + rs[1] + rs[2] + rs[3], nil
	})
	var services []*workflow.Service
	for range 2 {
		svc := b.service(func(c *workflow.Config) { c.Lease, c.Concurrency = 10*time.Second, 20 })
		svc.Register(w, leaf)
		services = append(services, svc)
		kit.Work(t, svc)
	}
	var handles []*workflow.Handle[int]
	for range runs {
		h, err := w.Start(t.Context(), services[0], rounds)
		kit.Must(t, err)
		handles = append(handles, h)
	}
	for _, err := range kit.Together(12, func(g int) error {
		for i, h := range handles {
			if i%4 != g/3 {
				continue
			}
			for r := range rounds {
				kit.Pause(t.Context(), time.Duration(rand.IntN(40))*time.Millisecond)
				if err := names[g%3].Send(t.Context(), services[rand.IntN(2)], h.RunID(), r); err != nil {
					return err
				}
			}
		}
		return nil
	}) {
		kit.Must(t, err)
	}
	for _, h := range handles {
		v, err := h.Result(kit.Within(t, 30*time.Second))
		if v != 6*rounds || err != nil {
			t.Error(v, err)
			for _, s := range kit.Column[string](t, b.db, "SELECT row_to_json(r)::text FROM workflows.workflow_runs r WHERE id = $1", h.RunID()) {
				t.Log(s)
			}
			for _, s := range kit.Column[string](t, b.db, "SELECT row_to_json(r)::text FROM workflows.workflow_steps r WHERE run_id = $1", h.RunID()) {
				t.Log(s)
			}
			for _, s := range kit.Column[string](t, b.db, "SELECT row_to_json(r)::text FROM workflows.workflow_signals r WHERE run_id = $1", h.RunID()) {
				t.Log(s)
			}
			break
		}
	}
}

// Workers come and go in the middle of families and waits.
func TestAttackDrains(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ran atomic.Int32
	leaf := workflow.Define("leaf", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) { ran.Add(1); return n, nil })
	})
	w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
		sum := 0
		for r := range 5 {
			rs, err := workflow.CallAll(ctx, "c", leaf, make([]int, 20))
			if err != nil {
				return 0, err
			}
			for _, r := range rs {
				if r.Err != nil {
					return 0, r.Err
				}
				sum++
			}
			if v, err := word.Wait(ctx, time.Hour); err != nil || v != fmt.Sprint(r) {
				return 0, fmt.Errorf("%q: %w", v, err)
			}
		}
		return sum, nil
	})
	sender := b.service()
	var handles []*workflow.Handle[int]
	for range 5 {
		h, err := w.Start(t.Context(), sender, 1)
		kit.Must(t, err)
		handles = append(handles, h)
	}
	done := make(chan struct{})
	churn := kit.Go(t, func() error {
		for {
			svc := b.service(func(c *workflow.Config) { c.Concurrency = 5 })
			svc.Register(w, leaf)
			stop := kit.Work(t, svc)
			select {
			case <-done:
				return nil
			case <-time.After(250 * time.Millisecond):
				stop()
			}
		}
	})
	for r := range 5 {
		for _, h := range handles {
			kit.Must(t, word.Send(t.Context(), sender, h.RunID(), fmt.Sprint(r)))
		}
	}
	for _, h := range handles {
		v, err := w.Handle(sender, h.RunID()).Result(kit.Within(t, 60*time.Second))
		if v != 100 || err != nil {
			t.Error(v, err)
		}
	}
	close(done)
	kit.Must(t, <-churn)
	if n := ran.Load(); n != 500 {
		t.Errorf("%d steps, want 500", n)
	}
}

// A step that sends to its own run, in a transaction too.
func TestAttackSendsToItself(t *testing.T) {
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

// Who decides first, who decides wrongly, and who comes too late.
func TestAttackDeciders(t *testing.T) {
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
	for {
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
	t.Log(out, err)
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

// A run that failed because nobody came is resumed, and asks again; what came meanwhile counts.
func TestAttackResumeAfterTimeout(t *testing.T) {
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

func TestAttackManySignals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 300
	num := workflow.DefineSignal[int]("num")
	w := workflow.Define("w", func(ctx context.Context, how string) (int, error) {
		for i := range n {
			var v int
			var err error
			if how == "poll" {
				v, _, err = num.Poll(ctx)
			} else {
				v, err = num.Wait(ctx, 0)
			}
			if err != nil {
				return 0, err
			}
			if v != i {
				return 0, fmt.Errorf("%d, want %d", v, i)
			}
		}
		return n, nil
	})
	b.svc.Register(w)
	for _, how := range []string{"wait", "poll"} {
		h, err := w.Start(t.Context(), b.svc, how)
		kit.Must(t, err)
		kit.Exec(t, b.db, "INSERT INTO workflows.workflow_signals (run_id, name, seq, payload, sent_at) SELECT $1, 'num', n + 1, to_jsonb(n), 0 FROM generate_series(0, $2 - 1) AS n", h.RunID(), n)
		kit.Exec(t, b.db, "UPDATE workflows.workflow_runs SET wake_seq = $2 WHERE id = $1", h.RunID(), n)
	}
	kit.Work(t, b.svc)
	start := time.Now()
	for _, id := range kit.Column[string](t, b.db, "SELECT id FROM workflows.workflow_runs") {
		v, err := w.Handle(b.svc, id).Result(kit.Context(t))
		t.Log(v, err, time.Since(start))
		if v != n || err != nil {
			t.Error(v, err)
		}
	}
}
