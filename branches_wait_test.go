package workflow_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Branches that wait for one name share what comes, each signal once, in every replay.
func TestSignalsSharedByBranches(t *testing.T) {
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
func TestAWaitBesideABusyBranch(t *testing.T) {
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

func TestManySignals(t *testing.T) {
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
	for _, id := range kit.Column[string](t, b.db, "SELECT id FROM workflows.workflow_runs") {
		v, err := w.Handle(b.svc, id).Result(kit.Context(t))
		if v != n || err != nil {
			t.Error(v, err)
		}
	}
}
