package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Branches wait for one thing each while runs park, time out and are handed from one worker to another.
func TestStormOfWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.SetMaxOpenConns(40)
	runs, rounds := 40, 3
	switch {
	case pgtest.Soak():
		runs, rounds = 300, 6
	case pgtest.Full():
		runs, rounds = 80, 4
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
func TestWaitsThroughDrains(t *testing.T) {
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

// One story on each way to the database.
func TestWaitsOnEveryAccess(t *testing.T) {
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
