package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
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

// pastDeadline lets the deadline of a run's child pass once that waits, and its siblings have ended.
func (b *bench) pastDeadline(id string) {
	b.t.Helper()
	kit.Until(b.t, "the child waits alone", func() bool {
		tx := kit.Begin(b.t, b.db)
		result, err := tx.Exec(`
			UPDATE workflows.workflow_runs AS child
			SET deadline_at = now, run_at = now
			FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock
			WHERE parent_id = $1 AND status = 'suspended' AND NOT EXISTS (
			    SELECT FROM workflows.workflow_runs AS sibling
			    WHERE sibling.parent_id = $1 AND sibling.id <> child.id AND sibling.status <> 'completed'
			)`, id)
		kit.Must(b.t, err)
		kit.Must(b.t, tx.Commit())
		changed, err := result.RowsAffected()
		kit.Must(b.t, err)
		return changed == 1
	})
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

func TestHowChildrenEndTwice(t *testing.T) {
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
				opts = append(opts, workflow.WithDeadline(time.Hour))
				between = b.with(t).pastDeadline
			}
			seen := b.with(t).twice("one "+how, func(ctx context.Context) string {
				v, err := workflow.Call(ctx, "c", child, in, opts...)
				return v + "; " + describe(err)
			}, between)
			if want := hand == "cancel"; strings.Contains(seen[0], "cancelled true") != want {
				t.Errorf("%s, want it cancelled: %t", seen[0], want)
			}
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
			if !strings.HasSuffix(seen[0], "; fine<nil>") {
				t.Errorf("%s, want the sibling to be fine", seen[0])
			}
		})
	}
}

func TestOutputsAreTheSameOnReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(_ context.Context, n int) (json.RawMessage, error) {
		return json.RawMessage(`{"b":"<&>","a":1e3,"long":"é"}`), nil
	})
	b.svc.Register(child)
	var lists, ones []string
	var calls int
	_, _, err := run(b, "parent", func(ctx context.Context, _ int) (int, error) {
		calls++
		rs, err := workflow.CallAll(ctx, "all", child, []int{1, 2})
		if err != nil {
			return 0, err
		}
		lists = append(lists, string(rs[0].Value))
		one, err := workflow.Call(ctx, "one", child, 1)
		if err != nil {
			return 0, err
		}
		ones = append(ones, string(one))
		if err := workflow.Sleep(ctx, "nap", 100*time.Millisecond); err != nil {
			return 0, err
		}
		_, err = word.Wait(ctx, 300*time.Millisecond)
		if errors.Is(err, workflow.ErrTimeout) {
			return 0, nil
		}
		return 0, err
	})
	if err != nil || calls < 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	for _, seen := range [][]string{lists, ones} {
		if seen = slices.Compact(seen); len(seen) != 1 {
			t.Errorf("not always the same: %q", seen)
		}
	}
}

func TestACallOfNothing(t *testing.T) {
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
