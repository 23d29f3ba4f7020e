package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

var goOn = workflow.DefineSignal[int]("go on")

// twice executes a parent so that it is replayed after what it does, and returns what it saw each time.
func (b *bench) twice(name string, do func(context.Context) string, between func(id string)) []string {
	b.t.Helper()
	var mu sync.Mutex
	var seen []string
	w := workflow.Define(name, func(ctx context.Context, _ int) (int, error) {
		s := do(ctx)
		if ctx.Err() != nil {
			return 0, workflow.ErrInterrupted
		}
		mu.Lock()
		seen = append(seen, s)
		mu.Unlock()
		return goOn.Wait(ctx, 0)
	})
	b.svc.Register(w)
	h, err := w.Start(b.t.Context(), b.svc, 1)
	kit.Must(b.t, err)
	if between != nil {
		between(h.RunID())
	}
	kit.Until(b.t, "waits", func() bool {
		r := b.get(h.RunID())
		return r.Status.Finished() || len(r.WaitsFor) == 1 && r.WaitsFor[0] == "signal:go on"
	})
	kit.Must(b.t, goOn.Send(b.t.Context(), b.svc, h.RunID(), 1))
	_, err = h.Result(kit.Context(b.t))
	if err != nil {
		b.t.Error(name, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) < 2 || seen[0] != seen[len(seen)-1] {
		b.t.Errorf("%s: %q", name, seen)
	}
	return seen
}

func describe(err error) string {
	var re *workflow.RunError
	var e *workflow.Error
	errors.As(err, &re)
	errors.As(err, &e)
	id := ""
	if re != nil {
		id = re.RunID
		if re.Err == nil {
			id += " nil Err"
		}
	}
	if e != nil {
		c := *e
		if c.Stack != "" {
			c.Stack = "stack"
		}
		e = &c
	}
	return fmt.Sprintf("%v | run %q | %+v | cancelled %t", err, id, e, errors.Is(err, workflow.ErrRunCancelled))
}

func TestAttackChildErrors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(ctx context.Context, how string) (string, error) {
		switch how {
		case "panic":
			panic("ouch")
		case "goexit":
			runtime.Goexit()
		case "code":
			return "", &workflow.Error{Code: "card_declined", Message: "no"}
		case "code cancelled":
			return "", &workflow.Error{Code: "cancelled", Message: "by the customer"}
		case "code deleted":
			return "", workflow.Code("deleted")
		case "plain":
			return "", errors.New("plain")
		case "empty":
			return "", errors.New("")
		case "step":
			return workflow.Do(ctx, "inner", func(context.Context) (string, error) { return "", workflow.Final(workflow.Code("x")) })
		case "wait":
			return word.Wait(ctx, 0)
		case "bad output":
			return "\x00", nil
		case "deadline":
			return word.Wait(ctx, 0)
		}
		return how, nil
	})
	b.svc.Register(child)
	for _, how := range []string{"panic", "goexit", "code", "code cancelled", "code deleted", "plain", "empty", "step", "bad output", "deadline",
		"wait:cancel", "wait:delete", "wait:failed by hand", "wait:completed by hand", "wait:set error", "wait:set result"} {
		t.Run(how, func(t *testing.T) {
			in, hand, _ := strings.Cut(how, ":")
			var between func(id string)
			if hand != "" {
				between = func(id string) {
					var childID string
					kit.Until(t, "child waits", func() bool {
						s, err := b.svc.GetStepState(t.Context(), id, "c")
						kit.Must(t, err)
						if s.ChildID == "" {
							return false
						}
						childID = s.ChildID
						return b.get(childID).Status == workflow.RunSuspended
					})
					switch hand {
					case "cancel":
						kit.Must(t, b.svc.Cancel(t.Context(), childID))
					case "delete":
						kit.Must(t, b.svc.DeleteRun(t.Context(), childID))
					case "failed by hand":
						kit.Must(t, b.svc.UpdateRunStatus(t.Context(), childID, workflow.RunFailed, nil, nil))
					case "completed by hand":
						kit.Must(t, b.svc.UpdateRunStatus(t.Context(), childID, workflow.RunCompleted, nil, nil))
					case "set error":
						kit.Must(t, b.svc.SetStepError(t.Context(), id, "c", errors.New("from outside")))
					case "set result":
						kit.Must(t, b.svc.SetStepResult(t.Context(), id, "c", "from outside"))
					}
				}
			}
			var opts []workflow.CallOption
			if how == "deadline" {
				opts = append(opts, workflow.WithDeadline(100*time.Millisecond))
			}
			seen := b.with(t).twice("one "+how, func(ctx context.Context) string {
				v, err := workflow.Call(ctx, "c", child, in, opts...)
				return v + "; " + describe(err)
			}, between)
			t.Log(seen[0])
			if hand == "set error" || hand == "set result" {
				return
			}
			seen = b.with(t).twice("all "+how, func(ctx context.Context) string {
				rs, err := workflow.CallAll(ctx, "c", child, []string{in, "fine"}, opts...)
				if err != nil {
					return err.Error()
				}
				return rs[0].Value + "; " + describe(rs[0].Err) + "; " + fmt.Sprint(rs[1].Value, rs[1].Err)
			}, between)
			t.Log(seen[0])
		})
	}
}

func TestAttackWrongCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(func(c *workflow.Config) { c.PayloadLimit, c.MaxSteps = 1000, 10 })
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(ctx context.Context, s string) (string, error) { return s, nil })
	anys := workflow.Define("anys", func(ctx context.Context, s any) (int, error) { return 1, nil })
	shapes := workflow.Define("shapes", func(ctx context.Context, s int) (shape, error) { return nil, nil })
	b.svc.Register(child, anys)
	big := strings.Repeat("x", 2000)
	cases := map[string]func(context.Context) error{
		"nil workflow": func(ctx context.Context) error {
			_, err := workflow.Call[string, string](ctx, "c", nil, "x")
			return err
		},
		"empty step": func(ctx context.Context) error { _, err := workflow.Call(ctx, "", child, "x"); return err },
		"bad step":   func(ctx context.Context) error { _, err := workflow.Call(ctx, "a/b", child, "x"); return err },
		"nul":        func(ctx context.Context) error { _, err := workflow.Call(ctx, "a\x00b", child, "x"); return err },
		"nul input":  func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", child, "\x00"); return err },
		"negative delay": func(ctx context.Context) error {
			_, err := workflow.Call(ctx, "c", child, "x", workflow.WithDelay(-1))
			return err
		},
		"negative deadline": func(ctx context.Context) error {
			_, err := workflow.Spawn(ctx, "c", child, "x", workflow.WithDeadline(-1))
			return err
		},
		"huge": func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", child, big); return err },
		"channel": func(ctx context.Context) error {
			_, err := workflow.Call(ctx, "c", anys, any(make(chan int)))
			return err
		},
		"interface": func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", shapes, 1); return err },
		"empty name": func(ctx context.Context) error {
			_, err := workflow.Call(ctx, "c", workflow.Define[int, int]("", nil), 1)
			return err
		},
		"too many": func(ctx context.Context) error {
			_, err := workflow.CallAll(ctx, "c", child, make([]string, 11))
			return err
		},
		"start":  func(ctx context.Context) error { _, err := child.Start(ctx, b.svc, "x"); return err },
		"create": func(ctx context.Context) error { _, err := b.svc.CreateRun(ctx, "child", "x"); return err },
		"send":   func(ctx context.Context) error { return word.Send(ctx, b.svc, workflow.RunID(ctx), "x") },
		"send huge": func(ctx context.Context) error {
			return word.Send(ctx, b.svc, workflow.RunID(ctx), big, workflow.WithKey("k"))
		},
		"send empty key": func(ctx context.Context) error {
			return word.Send(ctx, b.svc, workflow.RunID(ctx), "x", workflow.WithKey(""))
		},
		"send long key": func(ctx context.Context) error {
			return word.Send(ctx, b.svc, workflow.RunID(ctx), "x", workflow.WithKey(strings.Repeat("k", 256)))
		},
		"send nobody": func(ctx context.Context) error { return word.Send(ctx, b.svc, "", "x", workflow.WithKey("k")) },
		"nested call": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (int, error) {
				_, err := workflow.Call(ctx, "c", child, "x")
				return 0, err
			})
			return err
		},
		"nested wait": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (string, error) { return word.Wait(ctx, 0) })
			return err
		},
		"nested poll": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (string, error) { v, _, err := word.Poll(ctx); return v, err })
			return err
		},
		"nested ask": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (bool, error) {
				d, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{})
				return d.Value, err
			})
			return err
		},
		"ask huge": func(ctx context.Context) error {
			_, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{For: big})
			return err
		},
		"ask negative": func(ctx context.Context) error {
			_, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{Within: -1})
			return err
		},
		"ask channel": func(ctx context.Context) error {
			_, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{For: make(chan int)})
			return err
		},
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			h, _, err := run(b.with(t), "wrong "+name, func(ctx context.Context, _ int) (int, error) {
				err := f(ctx)
				if err == nil {
					return 1, nil
				}
				return 0, err
			})
			steps, _ := b.svc.ListSteps(t.Context(), h.RunID())
			t.Logf("%v (%d steps)", err, len(steps))
			if err == nil || strings.Contains(err.Error(), "panic") {
				t.Error(err)
			}
		})
	}
	t.Run("outside", func(t *testing.T) {
		for name, f := range cases {
			if strings.HasPrefix(name, "send") || name == "start" || name == "create" {
				continue
			}
			err := f(t.Context())
			if err == nil {
				t.Error(name, err)
			}
			t.Log(name, err)
		}
		_, err := workflow.Call(t.Context(), "c", child, "x")
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = workflow.Spawn(t.Context(), "c", child, "x")
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = workflow.CallAll(t.Context(), "c", child, nil)
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = word.Wait(t.Context(), 0)
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, _, err = word.Poll(t.Context())
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = workflow.DefineApproval[bool]("q").Ask(t.Context(), workflow.ApprovalRequest{})
		kit.WantIs(t, err, workflow.ErrOutsideRun)
	})
}

func TestAttackDepthAndOneSlot(t *testing.T) {
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
	t.Log(err)
	if err == nil || !strings.Contains(err.Error(), "32") {
		t.Error(err)
	}
}

// Two releases that differ in how a step calls.
func TestAttackChangedCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leaf := workflow.Define("leaf", func(_ context.Context, n int) (int, error) { return n, nil })
	gate := workflow.DefineSignal[int]("gate")
	kinds := map[string]func(ctx context.Context) error{
		"call":    func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", leaf, 1); return err },
		"renamed": func(ctx context.Context) error { _, err := workflow.Call(ctx, "d", leaf, 1); return err },
		"all": func(ctx context.Context) error {
			rs, err := workflow.CallAll(ctx, "c", leaf, []int{1})
			if err == nil {
				err = rs[0].Err
			}
			return err
		},
		"all2": func(ctx context.Context) error {
			rs, err := workflow.CallAll(ctx, "c", leaf, []int{1, 2})
			for _, r := range rs {
				if err == nil {
					err = r.Err
				}
			}
			return err
		},
		"spawn": func(ctx context.Context) error { _, err := workflow.Spawn(ctx, "c", leaf, 1); return err },
		"do": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "c", func(context.Context) (int, error) { t.Error("called"); return 1, nil })
			return err
		},
		"none": func(ctx context.Context) error { return nil },
	}
	for _, finished := range []bool{true, false} {
		for old, f := range kinds {
			for new, g := range kinds {
				if old == "do" || old == "none" || old == new || old == "renamed" || !finished && old == "spawn" {
					continue
				}
				t.Run(fmt.Sprint(old, " to ", new, " ", finished), func(t *testing.T) {
					t.Parallel()
					name := fmt.Sprint("w", old, new, finished)
					def := func(f func(context.Context) error) *workflow.Workflow[int, int] {
						return workflow.Define(name, func(ctx context.Context, _ int) (int, error) {
							if err := f(ctx); err != nil {
								return 0, err
							}
							return gate.Wait(ctx, 0)
						})
					}
					first := b.with(t).service()
					first.Register(def(f))
					leaves := b.with(t).service()
					leaves.Register(leaf)
					if finished {
						kit.Work(t, leaves)
					}
					stop := kit.Work(t, first)
					h, err := def(f).Start(t.Context(), first, 1)
					kit.Must(t, err)
					kit.Until(t, "parked", func() bool {
						r := b.get(h.RunID())
						return r.Status == workflow.RunSuspended && (!finished || r.SuspendedFor == workflow.SuspendedForSignal)
					})
					stop()
					second := b.with(t).service()
					second.Register(def(g))
					kit.Must(t, gate.Send(t.Context(), second, h.RunID(), 1))
					if !finished {
						kit.Work(t, leaves)
					}
					kit.Work(t, second)
					kit.Until(t, "goes on", func() bool {
						r := b.get(h.RunID())
						return r.Status.Finished() || r.SuspendedFor == workflow.SuspendedBlocked
					})
					if r := b.get(h.RunID()); r.SuspendedFor != workflow.SuspendedBlocked {
						t.Errorf("%s %v %s", r.Status, r.Err, r.Output)
					}
				})
			}
		}
	}
}

// gated leaves end when they are told to.
type gated struct {
	mu    sync.Mutex
	fails map[int]bool
	calls atomic.Int32
}

func (g *gated) set(n int, fails bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails == nil {
		g.fails = make(map[int]bool)
	}
	g.fails[n] = fails
}

func (g *gated) leaf() *workflow.Workflow[int, int] {
	return workflow.Define("leaf", func(ctx context.Context, n int) (int, error) {
		g.calls.Add(1)
		g.mu.Lock()
		fails, told := g.fails[n]
		g.mu.Unlock()
		if !told {
			return goOn.Wait(ctx, 0)
		}
		if fails {
			return 0, workflow.Code("told to")
		}
		return n, nil
	})
}

func TestAttackResumeOfATree(t *testing.T) {
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
		g.fails = nil
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
			g.set(n+1, false)
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
func TestAttackResumeOfAChild(t *testing.T) {
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
	g.set(1, true)
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
	g.set(1, false)
	kit.Must(t, b.svc.Resume(t.Context(), failed))
	g.set(2, false)
	g.set(3, false)
	for _, id := range kit.Column[string](t, b.db, "SELECT id FROM workflows.workflow_runs WHERE workflow = 'leaf'") {
		_ = goOn.Send(t.Context(), b.svc, id, 1)
	}
	v, err := h.Result(kit.Context(t))
	t.Log(v, err)
	if strings.Contains(v, "0x") || err != nil {
		t.Error(v, err)
	}
}

// Steps in branches are completed from outside as well.
func TestAttackCompleteInABranch(t *testing.T) {
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
	kit.Until(t, "second", func() bool {
		s, err := b.svc.GetStepState(t.Context(), h.RunID(), "p[1]/c#1")
		kit.Must(t, err)
		return s.Status == workflow.StepScheduled
	})
	for _, step := range []string{"p[0]/c#1", "p[1]/c#1"} {
		kit.Must(t, b.svc.SetStepResult(t.Context(), h.RunID(), step, step))
	}
	v, err := h.Result(kit.Context(t))
	if v != "p[0]/c#1,p[1]/c#1" || err != nil {
		t.Error(v, err)
	}
}

func TestAttackThousand(t *testing.T) {
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
