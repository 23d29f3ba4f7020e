package workflow_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// The wrong and the right code of docs/rules.md, as far as no other test holds it.

// replayed executes fn in a process where each sleep parks the run, so that it is called again, and tells fn which call it is.
func replayed(t *testing.T, fn func(ctx context.Context, call int32) (string, error)) (*bench, *workflow.Handle[string]) {
	t.Helper()
	b := setup(t)
	b.svc = b.service(parking)
	var calls atomic.Int32
	w := workflow.Define("rule", func(ctx context.Context, _ int) (string, error) { return fn(ctx, calls.Add(1)) })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	return b, handle
}

func park(ctx context.Context) error { return workflow.Sleep(ctx, "wait", 50*time.Millisecond) }

// blocks waits until the run is blocked because its function does not do what it did before.
func blocks(t *testing.T, b *bench, id string) {
	t.Helper()
	kit.Until(t, "the run is blocked", func() bool {
		run, err := b.svc.GetRun(t.Context(), id)
		kit.Must(t, err)
		if run.Status.Finished() {
			t.Fatalf("the run is %s: %v", run.Status, run.Err)
		}
		return run.SuspendedFor == workflow.SuspendedBlocked && errors.Is(run.Err, workflow.CodeNondeterministic)
	})
}

func ends(t *testing.T, handle *workflow.Handle[string], want string) {
	t.Helper()
	if got, err := handle.Result(kit.Context(t)); err != nil || got != want {
		t.Errorf("result %q, %v; want %q", got, err, want)
	}
}

func TestRuleNoClockBetweenSteps(t *testing.T) {
	t.Parallel()
	var afternoons atomic.Int32
	greet := func(ctx context.Context, morning bool) (string, error) {
		var greeting string
		var err error
		if morning {
			greeting, err = workflow.Do(ctx, "good morning", value("morning"))
		} else {
			greeting, err = workflow.Do(ctx, "good afternoon", func(context.Context) (string, error) {
				afternoons.Add(1)
				return "afternoon", nil
			})
		}
		if err != nil {
			return "", err
		}
		return greeting, park(ctx)
	}
	b, handle := replayed(t, func(ctx context.Context, call int32) (string, error) {
		return greet(ctx, call == 1) // as a clock that the function asks
	})
	blocks(t, b, handle.RunID())
	if n := afternoons.Load(); n != 0 {
		t.Errorf("it was afternoon %d times: want it noticed before any effect", n)
	}
	_, handle = replayed(t, func(ctx context.Context, call int32) (string, error) {
		morning, err := workflow.Do(ctx, "clock", value(call == 1))
		if err != nil {
			return "", err
		}
		return greet(ctx, morning)
	})
	ends(t, handle, "morning")
}

func TestRuleNoTimeoutAroundAStep(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	ask := func(ctx context.Context) (string, error) {
		asked.Add(1)
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	fallback := func(ctx context.Context) (string, error) {
		price, err := workflow.Do(ctx, "list price", value("list price"))
		if err != nil {
			return "", err
		}
		return price, park(ctx)
	}
	b, handle := replayed(t, func(ctx context.Context, _ int32) (string, error) {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if price, err := workflow.Do(short, "ask", ask); err == nil {
			return price, nil
		}
		return fallback(ctx)
	})
	blocks(t, b, handle.RunID())
	if n := asked.Swap(0); n != 1 {
		t.Errorf("asked %d times: want the mismatch noticed before the second", n)
	}
	_, handle = replayed(t, func(ctx context.Context, _ int32) (string, error) {
		price, err := workflow.Do(ctx, "ask", ask,
			workflow.WithAttemptTimeout(10*time.Millisecond), workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 1}))
		if errors.Is(err, workflow.CodeStepTimeout) {
			return fallback(ctx)
		}
		return price, err
	})
	ends(t, handle, "list price")
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once: that it took too long is recorded", n)
	}
}

func TestRuleNoMapOrder(t *testing.T) {
	t.Parallel()
	quote := func(ctx context.Context, suppliers []string) (string, error) {
		quotes := make(map[string]string)
		for _, supplier := range suppliers {
			quote, err := workflow.Do(ctx, "quote", value(supplier+"'s"))
			if err != nil {
				return "", err
			}
			quotes[supplier] = quote
		}
		return quotes["ann"] + " " + quotes["bob"], park(ctx)
	}
	_, handle := replayed(t, func(ctx context.Context, call int32) (string, error) {
		suppliers := []string{"ann", "bob"}
		if call > 1 { // as a map that is ranged over
			slices.Reverse(suppliers)
		}
		return quote(ctx, suppliers)
	})
	ends(t, handle, "bob's ann's") // nothing can notice that
	_, handle = replayed(t, func(ctx context.Context, call int32) (string, error) {
		suppliers := []string{"ann", "bob"}
		if call > 1 {
			slices.Reverse(suppliers)
		}
		slices.Sort(suppliers)
		return quote(ctx, suppliers)
	})
	ends(t, handle, "ann's bob's")
}

func TestRuleNoEffectsBetweenSteps(t *testing.T) {
	t.Parallel()
	var mails atomic.Int32
	mail := func(context.Context) (string, error) { mails.Add(1); return "sent", nil }
	_, handle := replayed(t, func(ctx context.Context, _ int32) (string, error) {
		sent, err := mail(ctx)
		if err != nil {
			return "", err
		}
		return sent, park(ctx)
	})
	ends(t, handle, "sent")
	if n := mails.Swap(0); n < 2 {
		t.Errorf("sent %d times outside a step, want it sent by each call: else this rule has no point", n)
	}
	_, handle = replayed(t, func(ctx context.Context, _ int32) (string, error) {
		sent, err := workflow.Do(ctx, "mail", mail)
		if err != nil {
			return "", err
		}
		return sent, park(ctx)
	})
	ends(t, handle, "sent")
	if n := mails.Load(); n != 1 {
		t.Errorf("sent %d times in a step, want once", n)
	}
}

func TestRuleReturnTheErrorOfAStep(t *testing.T) {
	t.Parallel()
	var early atomic.Int32
	_, handle := replayed(t, func(ctx context.Context, call int32) (string, error) {
		err := park(ctx)
		if err != nil && call == 1 {
			early.Add(1) // what follows happens at once, and not when it is time
		}
		return "on time", err
	})
	ends(t, handle, "on time")
	if early.Load() != 1 {
		t.Error("a sleep that parks its run returned nil")
	}
}

func TestRuleNoTimeoutAroundAWait(t *testing.T) {
	t.Parallel()
	payment := workflow.DefineSignal[string]("payment")
	remind := func(ctx context.Context) (string, error) {
		text, err := workflow.Do(ctx, "remind", value("reminded"))
		if err != nil {
			return "", err
		}
		return text, park(ctx)
	}
	b, handle := replayed(t, func(ctx context.Context, _ int32) (string, error) {
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := payment.Wait(short, 0); err != nil {
			return remind(ctx)
		}
		return "paid", nil
	})
	blocks(t, b, handle.RunID())
	_, handle = replayed(t, func(ctx context.Context, _ int32) (string, error) {
		paid, err := payment.Wait(ctx, time.Millisecond)
		if errors.Is(err, workflow.ErrTimeout) {
			return remind(ctx)
		}
		return paid, err
	})
	ends(t, handle, "reminded")
}

func TestRuleAnErrorOfAWaitIsNoTimeOut(t *testing.T) {
	t.Parallel()
	payment := workflow.DefineSignal[string]("payment")
	var cancelled atomic.Int32
	wait := func(handles func(error) bool) string {
		b, handle := replayed(t, func(ctx context.Context, _ int32) (string, error) {
			paid, err := payment.Wait(ctx, time.Hour)
			if err != nil && handles(err) {
				cancelled.Add(1)
				return "cancelled", nil
			}
			return paid, err
		})
		b.waiting(handle.RunID(), "signal:payment")
		kit.Must(t, payment.Send(t.Context(), b.svc, handle.RunID(), "paid"))
		got, err := handle.Result(kit.Context(t))
		kit.Must(t, err)
		return got
	}
	wait(func(error) bool { return true })
	if cancelled.Swap(0) == 0 {
		t.Error("a wait that parks its run returned no error: else this rule has no point")
	}
	got := wait(func(err error) bool { return errors.Is(err, workflow.ErrTimeout) })
	if n := cancelled.Load(); got != "paid" || n != 0 {
		t.Errorf("result %q, cancelled %d times", got, n)
	}
}

func TestRuleNoWaitInAStep(t *testing.T) {
	t.Parallel()
	payment := workflow.DefineSignal[string]("payment")
	manager := workflow.DefineApproval[bool]("manager")
	leaf := workflow.Define("leaf", func(context.Context, int) (int, error) { return 0, nil })
	waits := map[string]func(ctx context.Context) error{
		"Wait":    func(ctx context.Context) error { _, err := payment.Wait(ctx, 0); return err },
		"Poll":    func(ctx context.Context) error { _, _, err := payment.Poll(ctx); return err },
		"Ask":     func(ctx context.Context) error { _, err := manager.Ask(ctx, workflow.ApprovalRequest{}); return err },
		"Call":    func(ctx context.Context) error { _, err := workflow.Call(ctx, "call", leaf, 0); return err },
		"CallAll": func(ctx context.Context) error { _, err := workflow.CallAll(ctx, "all", leaf, []int{0}); return err },
		"Spawn":   func(ctx context.Context) error { _, err := workflow.Spawn(ctx, "spawn", leaf, 0); return err },
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var nested, busy error
			_, handle := replayed(t, func(outer context.Context, _ int32) (string, error) {
				_, err := workflow.Do(outer, "step", func(ctx context.Context) (bool, error) {
					nested, busy = wait(ctx), wait(outer)
					return true, nested
				})
				return "", err
			})
			if _, err := handle.Result(kit.Context(t)); err == nil {
				t.Error("the step has succeeded, want it failed for what it does")
			}
			kit.WantIs(t, nested, workflow.ErrStepNested)
			kit.WantIs(t, busy, workflow.ErrBranchBusy)
		})
	}
}
