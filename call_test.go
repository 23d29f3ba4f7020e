package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// What a called run fails with comes back with its step, code and message, and is what the caller fails with in its own step.
func TestCallFails(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		bank := workflow.Define("bank", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "ask", func(context.Context) (int, error) {
				return 0, workflow.Final(&workflow.Error{Code: "card_declined", Message: "the bank said no"})
			})
		})
		charge := workflow.Define("charge", func(ctx context.Context, n int) (int, error) {
			return workflow.Call(workflow.Branch(ctx, "card"), "bank", bank, n)
		})
		b.svc.Register(bank, charge)
		kit.Work(t, b.svc)
		var seen [2]*workflow.RunError
		handle, _, err := run(b, "order", func(ctx context.Context, n int) (int, error) {
			_, failed := workflow.Call(ctx, "charge", charge, n)
			if !errors.As(failed, &seen[0]) || !errors.Is(failed, workflow.Code("card_declined")) {
				return 0, fmt.Errorf("charge: %w, want a RunError with a code", failed)
			}
			results, err := workflow.CallAll(ctx, "bank", bank, []int{n})
			if err != nil || len(results) != 1 || !errors.As(results[0].Err, &seen[1]) || results[0].RunID != seen[1].RunID {
				return 0, fmt.Errorf("bank: %v, %w, want one result with a RunError", results, err)
			}
			return 0, fmt.Errorf("no charge: %w", failed)
		})
		for i, want := range []workflow.Error{
			{Code: "card_declined", Step: "card/bank", Message: fmt.Sprintf(`step "card/bank": run %q failed in step "ask": the bank said no`, b.child("bank", 0))},
			{Code: "card_declined", Step: "ask", Message: "the bank said no"},
		} {
			if seen[i] == nil || seen[i].Err == nil {
				t.Fatalf("no RunError of call %d: %v", i, err)
			}
			if diff := cmp.Diff(want, *seen[i].Err); diff != "" {
				t.Errorf("call %d (-want +got):\n%s", i, diff)
			}
		}
		var failed *workflow.RunError
		if !errors.As(err, &failed) || failed.RunID != handle.RunID() || failed.Err.Step != "charge" || failed.Err.Code != "card_declined" ||
			!strings.HasPrefix(failed.Err.Message, `no charge: step "charge": run `) {
			t.Errorf("the order failed with %v; want it to have failed in step charge, with the code", err)
		}
	})
}

// child returns the id of the nth run of a workflow, by creation.
func (b *bench) child(name string, n int) string {
	b.t.Helper()
	return kit.One[string](b.t, b.db,
		"SELECT id FROM workflows.workflow_runs WHERE workflow = $1 ORDER BY created_at, parent_step OFFSET $2 LIMIT 1", name, n)
}

// Results come in the order of the inputs, whichever run ends first, and one that fails loses no other.
func TestCallAllKeepsTheOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		const n = 60
		var svc atomic.Pointer[workflow.Service]
		square := workflow.Define("square", func(ctx context.Context, i int) (int, error) {
			switch {
			case i%20 == 7:
				return 0, &workflow.Error{Code: "seven", Message: fmt.Sprint(i)}
			case i%20 == 9:
				return 0, errors.Join(svc.Load().Cancel(ctx, workflow.RunID(ctx)), ctx.Err())
			case i%2 == 0:
				return i * i, workflow.Sleep(ctx, "last", 20*time.Millisecond)
			}
			return i * i, nil
		})
		svc.Store(b.svc)
		b.svc.Register(square)
		kit.Work(t, b.svc)
		inputs := make([]int, n)
		for i := range inputs {
			inputs[i] = i
		}
		handle, _, err := run(b, "squares", func(ctx context.Context, _ int) (int, error) {
			results, err := workflow.CallAll(ctx, "all", square, inputs)
			if err != nil {
				return 0, err
			}
			if len(results) != n {
				return 0, fmt.Errorf("%d results", len(results))
			}
			for i, result := range results {
				var failed *workflow.RunError
				ok := result.Err == nil && result.Value == i*i
				switch i % 20 {
				case 7:
					ok = errors.Is(result.Err, workflow.Code("seven")) && errors.As(result.Err, &failed) && failed.Err.Message == fmt.Sprint(i)
				case 9:
					ok = errors.Is(result.Err, workflow.ErrRunCancelled)
				}
				if !ok || result.RunID == "" {
					return 0, fmt.Errorf("result %d: %+v", i, result)
				}
			}
			none, err := workflow.CallAll(ctx, "none", square, nil)
			if len(none) != 0 || err != nil {
				return 0, fmt.Errorf("no inputs: %v, %w", none, err)
			}
			return n, nil
		})
		kit.Must(t, err)
		children, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{ParentID: handle.RunID(), Limit: 1000})
		kit.Must(t, err)
		for _, child := range children.Runs {
			if child.ParentID != handle.RunID() || child.ParentStep != "all" {
				t.Fatalf("child %+v", child)
			}
		}
		if len(children.Runs) != n {
			t.Errorf("%d children, want %d", len(children.Runs), n)
		}
	})
}

// A run that waits takes no slot: one slot is enough for a parent and all its children, and for theirs.
func TestOneSlotForAFamily(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(func(c *workflow.Config) { c.Concurrency = 1 })
	leaf := workflow.Define("leaf", func(_ context.Context, i int) (int, error) { return i, nil })
	middle := workflow.Define("middle", func(ctx context.Context, i int) (int, error) { return workflow.Call(ctx, "leaf", leaf, i) })
	b.svc.Register(leaf, middle)
	kit.Work(t, b.svc)
	_, sum, err := run(b, "root", func(ctx context.Context, _ int) (int, error) {
		results, err := workflow.CallAll(ctx, "all", middle, make([]int, 50))
		sum := 0
		for _, result := range results {
			if result.Err == nil {
				sum++
			}
		}
		return sum, err
	})
	if err != nil || sum != 50 {
		t.Errorf("%d results, %v; want 50", sum, err)
	}
}

// Runs call each other 32 deep; one more is refused with an error that says so, and the runs are not blocked by it.
func TestDepthOfCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var down *workflow.Workflow[int, int]
	down = workflow.Define("down", func(ctx context.Context, n int) (int, error) {
		deeper, err := workflow.Call(ctx, "deeper", down, n+1)
		if errors.Is(err, workflow.ErrInterrupted) {
			return 0, err
		}
		if errors.Is(err, workflow.ErrTooDeep) && strings.Contains(err.Error(), "32") && strings.Contains(err.Error(), "deeper") {
			return n, nil
		}
		return deeper, err
	})
	b.svc.Register(down)
	kit.Work(t, b.svc)
	handle, err := down.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 32 {
		t.Errorf("it went %d deep, %v; want 32", got, err)
	}
}

// An output that shows its JSON is the same text when it arrives and in every replay.
func TestOutputsOfCallsAreExact(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := workflow.Define("text", func(context.Context, int) (json.RawMessage, error) {
		return json.RawMessage(`{"b": "<&>",   "a": [1e2, 1.50], "c": "\u00e9"}`), nil
	})
	b.svc.Register(text)
	kit.Work(t, b.svc)
	seen := make(chan string, 100)
	w := workflow.Define("exact", func(ctx context.Context, n int) (int, error) {
		one, err := workflow.Call(ctx, "one", text, n)
		if err != nil {
			return 0, err
		}
		all, err := workflow.CallAll(ctx, "all", text, []int{1, 2})
		if err != nil {
			return 0, err
		}
		seen <- fmt.Sprintf("%s %s %s", one, all[0].Value, all[1].Value)
		return number.Wait(ctx, 0)
	})
	b.svc.Register(w)
	handle, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	first := kit.Receive(t, "what the function saw", seen)
	b.waiting(handle.RunID(), "signal:number")
	kit.Must(t, number.Send(t.Context(), b.svc, handle.RunID(), 1))
	if second := kit.Receive(t, "what its replay saw", seen); first != second {
		t.Errorf("first  %s\nreplay %s", first, second)
	}
	if texts := strings.SplitN(first, "} ", 3); len(texts) != 3 || texts[0]+"}" != texts[2] || texts[0] != texts[1] {
		t.Errorf("a call and a list have %s", first)
	}
}

// Options of a run hold for calls as well, options of a call for nothing else.
func TestOptionsOfCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	slow := workflow.Define("slow", func(ctx context.Context, _ int) (int, error) { return 0, workflow.Sleep(ctx, "long", time.Hour) })
	quick := workflow.Define("quick", func(context.Context, int) (int, error) { return 1, nil })
	b.svc.Register(slow, quick)
	kit.Work(t, b.svc)
	handle, _, err := run(b, "options", func(ctx context.Context, n int) (int, error) {
		if _, err := workflow.Call(ctx, "late", slow, n, workflow.WithDeadline(100*time.Millisecond)); !errors.Is(err, workflow.CodeDeadline) {
			return 0, fmt.Errorf("a deadline: %w", err)
		}
		if _, err := workflow.Call(ctx, "later", quick, n, workflow.WithDelay(200*time.Millisecond)); err != nil {
			return 0, err
		}
		_, err := workflow.Call(ctx, "never", quick, n, workflow.WithDelay(-1))
		if !errors.Is(err, workflow.ErrInvalidArgument) {
			return 0, fmt.Errorf("a negative delay: %w", err)
		}
		return 1, nil
	})
	kit.Must(t, err)
	step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "later")
	if took := step.UpdatedAt.Sub(step.StartedAt); err != nil || took < 190*time.Millisecond {
		t.Errorf("with a delay of 200ms it took %s, %v", took, err)
	}
	if _, ok := any(workflow.WithRunID("x")).(workflow.CallOption); ok {
		t.Error("WithRunID is an option of calls")
	}
	if _, ok := any(workflow.Abandon()).(workflow.StartOption); ok {
		t.Error("Abandon is an option of starts")
	}
}

// A run takes its family along when it is cancelled, but for those that are abandoned, and when it is resumed.
func TestCancelAndResumeFamilies(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		wait := workflow.Define("wait", func(ctx context.Context, _ int) (int, error) { return number.Wait(ctx, 0) })
		middle := workflow.Define("middle", func(ctx context.Context, n int) (int, error) { return workflow.Call(ctx, "wait", wait, n) })
		root := workflow.Define("root", func(ctx context.Context, n int) (int, error) {
			if _, err := workflow.Spawn(ctx, "abandoned", wait, n, workflow.Abandon()); err != nil {
				return 0, err
			}
			return workflow.Call(ctx, "middle", middle, n)
		})
		b.svc.Register(wait, middle, root)
		kit.Work(t, b.svc)
		handle, err := root.Start(t.Context(), b.svc, 1)
		kit.Must(t, err)
		if run := b.waiting(handle.RunID(), "step:middle"); run.SuspendedFor != workflow.SuspendedForChildren {
			t.Errorf("it waits for %q, want children", run.SuspendedFor)
		}
		leaves := func(parent string) []workflow.Run {
			page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{ParentID: parent})
			kit.Must(t, err)
			return page.Runs
		}
		kit.Until(t, "all wait", func() bool {
			return kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs WHERE suspended_for = 'signal'") == 2
		})
		tx := kit.Begin(t, b.db)
		kit.Must(t, b.svc.In(tx).Cancel(t.Context(), handle.RunID()))
		kit.Must(t, tx.Commit())
		_, err = handle.Result(kit.Context(t))
		kit.WantIs(t, err, workflow.ErrRunCancelled)
		var middleID, leafID, abandonedID string
		for _, child := range leaves(handle.RunID()) {
			if child.Workflow == "middle" {
				middleID = child.ID
			} else {
				abandonedID = child.ID
			}
		}
		leafID = leaves(middleID)[0].ID
		for id, want := range map[string]workflow.RunStatus{
			middleID: workflow.RunCancelled, leafID: workflow.RunCancelled, abandonedID: workflow.RunSuspended,
		} {
			if got := b.get(id).Status; got != want {
				t.Errorf("run %s is %s, want %s", id, got, want)
			}
		}

		kit.Must(t, b.svc.Resume(t.Context(), handle.RunID()))
		b.waiting(leafID, "signal:number")
		kit.Must(t, number.Send(t.Context(), b.svc, leafID, 42))
		if got, err := handle.Result(kit.Context(t)); err != nil || got != 42 {
			t.Errorf("resumed: %d, %v; want 42", got, err)
		}
		if n := len(leaves(handle.RunID())); n != 2 {
			t.Errorf("it has %d children, want the same 2", n)
		}
	})
}

// Whoever has done what a step stands for completes it, once, wherever it is executed and whatever its key; what the called run
// does then changes nothing.
func TestStepsCompletedFromOutside(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		remote := workflow.Define[int, string]("remote", nil)
		w := workflow.Define("asks", func(ctx context.Context, n int) (string, error) {
			first, err := workflow.Call(workflow.Branch(ctx, "far"), "remote", remote, n)
			if err != nil {
				return "", err
			}
			_, failed := workflow.Call(workflow.Branch(ctx, "far"), "remote", remote, n)
			if errors.Is(failed, workflow.ErrInterrupted) {
				return "", failed
			}
			return fmt.Sprint(first, errors.Is(failed, workflow.Code("no_paper"))), nil
		})
		b.svc.Register(w)
		kit.Work(t, b.svc)
		handle, err := w.Start(t.Context(), b.svc, 1)
		kit.Must(t, err)
		id := handle.RunID()
		b.waiting(id, "step:far/remote")
		tx := kit.Begin(t, b.db)
		kit.Must(t, b.svc.In(tx).SetStepResult(t.Context(), id, "far/remote", "rolled back"))
		kit.Must(t, tx.Rollback())
		kit.Must(t, b.svc.SetStepResult(t.Context(), id, "far/remote", "printed"))
		kit.Must(t, b.svc.SetStepResult(t.Context(), id, "far/remote", "printed"))
		kit.WantIs(t, b.svc.SetStepResult(t.Context(), id, "far/remote", "torn"), workflow.ErrStepFinished)
		b.waiting(id, "step:far/remote#1")
		kit.Must(t, b.svc.SetStepError(t.Context(), id, "far/remote#1", &workflow.Error{Code: "no_paper", Message: "no paper"}))
		if got, err := handle.Result(kit.Context(t)); err != nil || got != "printedtrue" && got != "printed true" {
			t.Errorf("result %q, %v", got, err)
		}
		kit.WantIs(t, b.svc.SetStepResult(t.Context(), id, "far/unknown", 1), workflow.ErrInvalidArgument)
		kit.WantIs(t, b.svc.SetStepResult(t.Context(), "nobody", "far/unknown", 1), workflow.ErrRunNotFound)
	})
}

// A run that is started by a function that is called again and again would be started again and again.
func TestStartInAFunctionAdvises(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	other := workflow.Define("other", func(context.Context, int) (int, error) { return 0, nil })
	_, _, err := run(b, "starts", func(ctx context.Context, n int) (int, error) {
		_, err := other.Start(ctx, b.svc, n)
		return 0, err
	})
	if err == nil || !strings.Contains(err.Error(), "Call") || !strings.Contains(err.Error(), "Spawn") {
		t.Errorf("error %v, want the advice to use Call or Spawn", err)
	}
}

func TestCallsRefuse(t *testing.T) {
	t.Parallel()
	w := workflow.Define("w", func(context.Context, int) (int, error) { return 0, nil })
	_, err := workflow.Call(t.Context(), "c", w, 1)
	kit.WantIs(t, err, workflow.ErrOutsideRun)
	_, err = workflow.CallAll(t.Context(), "c", w, []int{1})
	kit.WantIs(t, err, workflow.ErrOutsideRun)
	_, err = workflow.Spawn(t.Context(), "c", w, 1)
	kit.WantIs(t, err, workflow.ErrOutsideRun)
	for what, err := range map[string]error{
		"a bad step":     second(workflow.Call(t.Context(), "a/b", w, 1)),
		"a bad workflow": second(workflow.Call(t.Context(), "c", workflow.Define[int, int]("", nil), 1)),
		"a bad input":    second(workflow.Call(t.Context(), "c", workflow.Define[chan int, int]("w", nil), make(chan int))),
		"an interface":   second(workflow.Call(t.Context(), "c", workflow.Define[int, error]("w", nil), 1)),
	} {
		if !errors.Is(err, workflow.ErrInvalidArgument) {
			t.Errorf("%s: %v, want ErrInvalidArgument", what, err)
		}
	}
	if said := panics(func() { workflow.DefineStep[int, int]("a/b", nil) }); !strings.Contains(said, "step name") {
		t.Errorf("a step of a bad name: panic %q", said)
	}
}
