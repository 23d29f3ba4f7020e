package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// gated leaves end when they are told to.
type gated struct {
	mu    sync.Mutex
	told  map[int]error
	calls atomic.Int32
}

func (g *gated) ends(n int) { g.tell(n, nil) }

func (g *gated) breaks(n int) { g.tell(n, workflow.Code("told to")) }

func (g *gated) tell(n int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.told == nil {
		g.told = make(map[int]error)
	}
	g.told[n] = err
}

func (g *gated) leaf() *workflow.Workflow[int, int] {
	return workflow.Define("leaf", func(ctx context.Context, n int) (int, error) {
		g.calls.Add(1)
		g.mu.Lock()
		err, told := g.told[n]
		g.mu.Unlock()
		if !told {
			return goOn.Wait(ctx, 0)
		}
		return n, err
	})
}

func TestResumeOfATree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var g gated
	leaf := g.leaf()
	parent := workflow.Define("parent", func(ctx context.Context, all bool) (int, error) {
		if !all {
			return workflow.Call(ctx, "c", leaf, 1)
		}
		rs, err := workflow.CallAll(ctx, "c", leaf, []int{1, 2, 3})
		if err != nil {
			return 0, err
		}
		sum := 0
		for _, r := range rs {
			if r.Err != nil {
				return 0, r.Err
			}
			sum += r.Value
		}
		return sum, nil
	})
	top := workflow.Define("top", func(ctx context.Context, all bool) (int, error) { return workflow.Call(ctx, "p", parent, all) })
	b.svc.Register(leaf, parent, top)
	for _, all := range []bool{false, true} {
		g.mu.Lock()
		g.told = nil
		g.mu.Unlock()
		h, err := top.Start(t.Context(), b.svc, all)
		kit.Must(t, err)
		leaves := 1
		if all {
			leaves = 3
		}
		kit.Until(t, "leaves wait", func() bool {
			return kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'leaf' AND status = 'suspended' AND id LIKE $1 || '%'", h.RunID()) == leaves
		})
		for range 3 {
			kit.Must(t, b.svc.Cancel(t.Context(), h.RunID()))
			if n := kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs WHERE status <> 'cancelled' AND id LIKE $1 || '%'", h.RunID()); n > 0 {
				t.Error(n, "left after Cancel")
			}
			kit.Must(t, b.svc.Resume(t.Context(), h.RunID()))
		}
		for n := range 3 {
			g.ends(n + 1)
		}
		for _, id := range kit.Column[string](t, b.db, "SELECT id FROM workflows.workflow_runs WHERE workflow = 'leaf' AND id LIKE $1 || '%'", h.RunID()) {
			_ = goOn.Send(t.Context(), b.svc, id, 1)
		}
		v, err := h.Result(kit.Within(t, 10*time.Second))
		if err != nil || v == 0 {
			t.Error(v, err)
			for _, s := range kit.Column[string](t, b.db, "SELECT row_to_json(r)::text FROM workflows.workflow_runs r") {
				t.Log(s)
			}
			for _, s := range kit.Column[string](t, b.db, "SELECT row_to_json(r)::text FROM workflows.workflow_steps r") {
				t.Log(s)
			}
		}
	}
}

// A child that is resumed by itself while its parent waits for it and others.
func TestResumeOfAChild(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var g gated
	leaf := g.leaf()
	parent := workflow.Define("parent", func(ctx context.Context, _ int) (string, error) {
		rs, err := workflow.CallAll(ctx, "c", leaf, []int{1, 2, 3})
		return fmt.Sprint(rs), err
	})
	b.svc.Register(leaf, parent)
	g.breaks(1)
	h, err := parent.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	one := func(q string) string { return kit.One[string](t, b.db, q) }
	kit.Until(t, "one has failed", func() bool { return one("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'failed'") == "1" })
	failed := one("SELECT id FROM workflows.workflow_runs WHERE status = 'failed'")
	for range 4 {
		kit.Must(t, b.svc.Resume(t.Context(), failed))
		kit.Until(t, "it has failed again", func() bool { return b.get(failed).Status == workflow.RunFailed })
	}
	if w := one("SELECT waiting FROM workflows.workflow_steps WHERE step_name = 'c'"); w != "2" {
		t.Error("waiting", w)
	}
	g.ends(1)
	kit.Must(t, b.svc.Resume(t.Context(), failed))
	g.ends(2)
	g.ends(3)
	for _, id := range kit.Column[string](t, b.db, "SELECT id FROM workflows.workflow_runs WHERE workflow = 'leaf'") {
		_ = goOn.Send(t.Context(), b.svc, id, 1)
	}
	v, err := h.Result(kit.Context(t))
	if strings.Contains(v, "0x") || err != nil {
		t.Error(v, err)
	}
}

// Steps in branches are completed from outside as well.
func TestCompletedInABranch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	nobody := workflow.Define[int, string]("nobody", nil)
	h, err := func() (*workflow.Handle[string], error) {
		w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) {
			rs, err := workflow.Parallel(ctx, "p", []int{1, 2}, func(ctx context.Context, n int) (string, error) {
				if _, err := workflow.Call(ctx, "c", nobody, n); err != nil {
					return "", err
				}
				return workflow.Call(ctx, "c", nobody, n)
			})
			return strings.Join(rs, ","), err
		})
		b.svc.Register(w)
		return w.Start(t.Context(), b.svc, 1)
	}()
	kit.Must(t, err)
	b.parked(h.RunID())
	for _, step := range []string{"p[0]/c", "p[1]/c"} {
		if err := b.svc.SetStepResult(t.Context(), h.RunID(), step, "first"); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []string{"p[0]/c#1", "p[1]/c#1"} {
		kit.Until(t, "the second call of each branch", func() bool {
			s, err := b.svc.GetStepState(t.Context(), h.RunID(), step)
			kit.Must(t, err)
			return s.Status == workflow.StepScheduled
		})
		kit.Must(t, b.svc.SetStepResult(t.Context(), h.RunID(), step, step))
	}
	v, err := h.Result(kit.Context(t))
	if v != "p[0]/c#1,p[1]/c#1" || err != nil {
		t.Error(v, err)
	}
}

func TestFamiliesInOneSlot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(func(c *workflow.Config) { c.Concurrency = 1 })
	var chain *workflow.Workflow[int, int]
	chain = workflow.Define("chain", func(ctx context.Context, n int) (int, error) {
		if n == 0 {
			return 0, nil
		}
		v, err := workflow.Call(ctx, "c", chain, n-1)
		return v + 1, err
	})
	leaf := workflow.Define("leaf", func(_ context.Context, n int) (int, error) { return n, nil })
	wide := workflow.Define("wide", func(ctx context.Context, n int) (sum int, err error) {
		rs, err := workflow.CallAll(ctx, "c", leaf, make([]int, n))
		return len(rs), err
	})
	b.svc.Register(chain, leaf, wide)
	kit.Work(t, b.svc)
	h, err := chain.Start(t.Context(), b.svc, 32)
	kit.Must(t, err)
	h2, err := wide.Start(t.Context(), b.svc, 50)
	kit.Must(t, err)
	v, err := h.Result(kit.Context(t))
	if v != 32 || err != nil {
		t.Error(v, err)
	}
	v, err = h2.Result(kit.Context(t))
	if v != 50 || err != nil {
		t.Error(v, err)
	}
	h, err = chain.Start(t.Context(), b.svc, 33)
	kit.Must(t, err)
	_, err = h.Result(kit.Context(t))
	if err == nil || !strings.Contains(err.Error(), "32") {
		t.Error(err)
	}
}

func TestAThousandChildren(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	leaf := workflow.Define("leaf", func(ctx context.Context, n int) (json.Number, error) {
		switch n % 100 {
		case 7:
			panic(n)
		case 8:
			return "", errors.New("no")
		}
		return json.Number(fmt.Sprint(n)), nil
	})
	b.svc.Register(leaf)
	in := make([]int, 1000)
	for i := range in {
		in[i] = i
	}
	_, v, err := run(b, "wide", func(ctx context.Context, _ int) (string, error) {
		rs, err := workflow.CallAll(ctx, "c", leaf, in)
		if err != nil {
			return "", err
		}
		bad := 0
		for i, r := range rs {
			if r.Err != nil {
				bad++
				if i%100 != 7 && i%100 != 8 {
					return "", r.Err
				}
			} else if string(r.Value) != fmt.Sprint(i) {
				return "", fmt.Errorf("%d: %v", i, r)
			}
		}
		return fmt.Sprint(bad), nil
	})
	if v != "20" || err != nil {
		t.Error(v, err)
	}
}

// What a parent leaves behind.
func TestWhatParentsLeaveBehind(t *testing.T) {
	t.Parallel()
	b := mortal(t)
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
			o = append(o, workflow.WithDeadline(2*time.Second))
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
		if _, err := h.Result(kit.Context(t)); (err == nil) != (how == "complete") {
			t.Errorf("%s: %v", how, err)
		}
		deadline := time.Now().Add(8 * time.Second)
		for time.Now().Before(deadline) && (children()["1"] != want || how == "deadline" && children()["1called"] != workflow.RunCancelled) {
			kit.Pause(t.Context(), 50*time.Millisecond)
		}
		if got := children(); got["1"] != want || got["2"].Finished() || how == "deadline" && got["1called"] != workflow.RunCancelled {
			t.Errorf("%s: %v", how, got)
		}
	}
}

// An abandoned child ends while its parent is cancelled, which is resumed then.
func TestAbandonedWhileTheParentIsResumed(t *testing.T) {
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
