package workflow_test

import (
	"context"
	"database/sql"
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

var number = workflow.DefineSignal[int]("number")

// collect waits for a few numbers and returns them in the order in which they came to it.
func collect(ctx context.Context, n int) (all []int, err error) {
	for range n {
		got, err := number.Wait(ctx, time.Hour)
		if err != nil {
			return nil, err
		}
		all = append(all, got)
	}
	return all, nil
}

// Signals arrive in the order in which they were sent: those from before the run waits, and those that wake it.
func TestSignalsArriveInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define("collect", collect)
		b.svc.Register(w)
		handle, err := w.Start(t.Context(), b.svc, 6)
		kit.Must(t, err)
		for i := range 3 {
			kit.Must(t, number.Send(t.Context(), b.svc, handle.RunID(), i))
		}
		kit.Work(t, b.svc)
		run := b.waiting(handle.RunID(), "signal:number")
		if run.SuspendedFor != workflow.SuspendedForSignal || run.Owner != "" {
			t.Errorf("it waits for %q, owned by %q; want it to wait for a signal, and no owner", run.SuspendedFor, run.Owner)
		}
		stats, err := b.svc.Stats(t.Context())
		if err != nil || stats.Suspended[workflow.SuspendedForSignal] != 1 {
			t.Errorf("stats %v, %v; want one run that waits for a signal", stats.Suspended, err)
		}
		for i := 3; i < 6; i++ {
			kit.Must(t, number.Send(t.Context(), b.svc, handle.RunID(), i))
		}
		got, err := handle.Result(kit.Context(t))
		kit.Must(t, err)
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		signals, err := b.svc.ListSignals(t.Context(), handle.RunID())
		kit.Must(t, err)
		for i, signal := range signals {
			want := "number"
			if i > 0 {
				want = fmt.Sprintf("number#%d", i)
			}
			if signal.TakenBy != want || string(signal.Payload) != fmt.Sprint(i) || signal.SentAt.IsZero() {
				t.Errorf("signal %d: %+v, want it taken by %s", i, signal, want)
			}
		}
	})
}

// A signal that is sent in a transaction exists if and only if that commits; a refusal leaves the transaction as it was.
func TestSendInATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define("collect", collect)
		b.svc.Register(w)
		kit.Work(t, b.svc)
		handle, err := w.Start(t.Context(), b.svc, 1)
		kit.Must(t, err)
		done, err := w.Start(t.Context(), b.svc, 0, workflow.WithRunID("done"))
		kit.Must(t, err)
		_, err = done.Result(kit.Context(t))
		kit.Must(t, err)
		b.waiting(handle.RunID(), "signal:number")

		in := func(end func(*sql.Tx) error, value int) {
			tx := kit.Begin(t, b.db)
			kit.WantIs(t, number.Send(t.Context(), b.svc.In(tx), "nobody", value), workflow.ErrRunNotFound)
			kit.WantIs(t, number.Send(t.Context(), b.svc.In(tx), "done", value), workflow.ErrRunFinished)
			kit.Exec(t, tx, "INSERT INTO effects VALUES ('tx', $1, '')", fmt.Sprint(value))
			for range 2 {
				kit.Must(t, number.Send(t.Context(), b.svc.In(tx), handle.RunID(), value, workflow.WithKey("evt")))
			}
			kit.Must(t, end(tx))
		}
		in((*sql.Tx).Rollback, 1)
		if signals, err := b.svc.ListSignals(t.Context(), handle.RunID()); err != nil || len(signals) != 0 {
			t.Errorf("after the rollback: %v, %v; want no signal", signals, err)
		}
		in((*sql.Tx).Commit, 2)
		b.svc.Wake()
		got, err := handle.Result(kit.Context(t))
		if err != nil || !cmp.Equal(got, []int{2}) || kit.One[string](t, b.db, "SELECT string_agg(step, ' ') FROM effects") != "2" {
			t.Errorf("result %v, %v; want that of the commit", got, err)
		}
		if err := number.Send(t.Context(), b.svc, handle.RunID(), 2, workflow.WithKey("evt")); err != nil {
			t.Errorf("a key that was sent before, to a run that has finished: %v, want nil", err)
		}
		kit.WantIs(t, number.Send(t.Context(), b.svc, handle.RunID(), 3), workflow.ErrRunFinished)
		kit.WantIs(t, number.Send(t.Context(), b.svc, "nobody", 3), workflow.ErrRunNotFound)
		_, err = b.svc.ListSignals(t.Context(), "nobody")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
	})
}

// Whatever comes for a run wakes this process's worker, which would not look by itself for an hour.
func TestWhatComesWakesTheWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(func(c *workflow.Config) { c.PollInterval, c.Lease = time.Hour, time.Hour })
	approve := workflow.DefineApproval[int]("approve")
	remote := workflow.Define[int, int]("remote", nil)
	w := workflow.Define("wakes", func(ctx context.Context, how string) (int, error) {
		switch how {
		case "signal":
			return number.Wait(ctx, 0)
		case "approval":
			decision, err := approve.Ask(ctx, workflow.ApprovalRequest{})
			return decision.Value, err
		case "call":
			return workflow.Call(workflow.Branch(ctx, "there"), "remote", remote, 1)
		default:
			decision, err := approve.Ask(ctx, workflow.ApprovalRequest{})
			return decision.Value + 1, err
		}
	})
	svc.Register(w)
	kit.Work(t, svc)
	for _, c := range []struct {
		how, waitsFor string
		come          func(on workflow.Session, state workflow.State, id string) error
	}{
		{"signal", "signal:number", func(on workflow.Session, _ workflow.State, id string) error {
			return number.Send(t.Context(), on, id, 42)
		}},
		{"approval", "signal:approval:approve", func(on workflow.Session, _ workflow.State, id string) error {
			return approve.Decide(t.Context(), on, workflow.ApprovalID(id, "approve"), "zoe", 42)
		}},
		{"call", "step:there/remote", func(_ workflow.Session, state workflow.State, id string) error {
			return state.SetStepResult(t.Context(), id, "there/remote", 42)
		}},
		{"an approval from outside", "step:approve", func(_ workflow.Session, state workflow.State, id string) error {
			return state.SetStepResult(t.Context(), id, "approve", json.RawMessage(`{"by": "a program", "value": 41}`))
		}},
	} {
		for _, where := range []string{"", " in a transaction", " in a section"} {
			t.Run(c.how+where, func(t *testing.T) { // one after the other: what wakes the worker for one wakes it for all
				handle, err := w.Start(t.Context(), svc, c.how)
				kit.Must(t, err)
				id := handle.RunID()
				b.with(t).waiting(id, c.waitsFor)
				switch where {
				case "":
					kit.Must(t, c.come(svc, svc.State, id))
				case " in a transaction":
					tx := kit.Begin(t, b.db)
					kit.Must(t, c.come(svc.In(tx), svc.In(tx), id))
					kit.Must(t, tx.Commit())
					svc.Wake()
				default:
					kit.Must(t, svc.WithRunLock(t.Context(), id, func(_ context.Context, _ *sql.Tx, state workflow.State) error {
						return c.come(state, state, id)
					}))
				}
				if got, err := handle.Result(kit.Within(t, time.Minute)); err != nil || got != 42 {
					t.Errorf("result %d, %v", got, err)
				}
			})
		}
	}
}

// That nothing has come in time is ErrTimeout in the workflow's function, the first time and in every replay; it has a code, which
// is what the run fails with. For whoever asks for the result it is no time-out.
func TestSignalTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	var calls, timeouts atomic.Int32
	w := workflow.Define("late", func(ctx context.Context, _ int) (int, error) {
		calls.Add(1)
		_, missed := number.Wait(ctx, 30*time.Millisecond)
		if errors.Is(missed, workflow.ErrInterrupted) {
			return 0, missed
		}
		var own *workflow.Error
		if errors.Is(missed, workflow.ErrTimeout) && errors.Is(missed, workflow.CodeTimeout) && errors.As(missed, &own) && own.Step == "number" {
			timeouts.Add(1)
		}
		if _, err := workflow.DefineSignal[int]("go").Wait(ctx, 0); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("no number: %w", missed)
	})
	b.svc.Register(w)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	b.waiting(handle.RunID(), "signal:go")
	kit.Must(t, workflow.DefineSignal[int]("go").Send(t.Context(), b.svc, handle.RunID(), 1))
	_, err = handle.Result(kit.Context(t))
	var failed *workflow.RunError
	if !errors.As(err, &failed) || !errors.Is(err, workflow.CodeTimeout) || failed.Err.Step != "number" || errors.Is(err, workflow.ErrTimeout) {
		t.Errorf("run %s failed with %v; want CodeTimeout in step number, and no ErrTimeout", handle.RunID(), err)
	}
	if timeouts.Load() < 2 {
		t.Errorf("the function saw %d time-outs in %d calls; want one in each", timeouts.Load(), calls.Load())
	}
	if step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "number"); err != nil || step.Status != workflow.StepFailed || step.WakeAt.IsZero() {
		t.Errorf("step %+v, %v; want it failed, with its deadline", step, err)
	}
}

// A signal that was acknowledged before the deadline wins, however much later a worker looks.
func TestSignalBeforeTheDeadlineWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("wins", func(ctx context.Context, _ int) (int, error) { return number.Wait(ctx, time.Minute) })
	b.svc.Register(w)
	stop := kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	b.waiting(handle.RunID(), "signal:number")
	stop()
	kit.Must(t, number.Send(t.Context(), b.svc, handle.RunID(), 42))
	// Hours pass in which no worker works.
	kit.Exec(t, b.db, "UPDATE workflows.workflow_steps SET wake_at = wake_at - 36000000, started_at = started_at - 36000000")
	kit.Exec(t, b.db, "UPDATE workflows.workflow_signals SET sent_at = sent_at - 36000000")
	kit.Work(t, b.svc)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 42 {
		t.Errorf("result %d, %v; want 42", got, err)
	}
}

// What Poll has found is recorded, be it nothing: a signal that comes later does not change what the function has seen.
func TestPollIsRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(parking)
	var calls atomic.Int32
	w := workflow.Define("polls", func(ctx context.Context, _ int) (string, error) {
		calls.Add(1)
		first, found, err := number.Poll(ctx)
		if err != nil {
			return "", err
		}
		if _, err := workflow.DefineSignal[string]("go").Wait(ctx, 0); err != nil {
			return "", err
		}
		second, found2, err := number.Poll(ctx)
		return fmt.Sprint(first, found, second, found2), err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	b.waiting(handle.RunID(), "signal:go")
	kit.Must(t, number.Send(t.Context(), b.svc, handle.RunID(), 42))
	kit.Must(t, workflow.DefineSignal[string]("go").Send(t.Context(), b.svc, handle.RunID(), "now"))
	if got, err := handle.Result(kit.Context(t)); err != nil || got != "0 false 42 true" || calls.Load() < 2 {
		t.Errorf("result %q, %v after %d calls; want nothing at first, and 42 then", got, err, calls.Load())
	}
}

// Outside a step each replay would send once more: only a signal with a key may be sent there.
func TestSendInAWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	receiver := workflow.Define("collect", collect)
	b.svc.Register(receiver)
	to, err := receiver.Start(t.Context(), b.svc, 2)
	kit.Must(t, err)
	_, _, err = run(b, "sends", func(ctx context.Context, _ int) (int, error) {
		if err := number.Send(ctx, b.svc, to.RunID(), 1); !errors.Is(err, workflow.ErrSendOutsideStep) {
			return 0, fmt.Errorf("without a key: %w", err)
		}
		if err := number.Send(ctx, b.svc, to.RunID(), 2, workflow.WithKey("k")); err != nil {
			return 0, err
		}
		return workflow.DoTx(ctx, "send", func(ctx context.Context, tx *sql.Tx) (int, error) {
			return 1, number.Send(ctx, b.svc.In(tx), to.RunID(), 3)
		})
	})
	kit.Must(t, err)
	if got, err := to.Result(kit.Context(t)); err != nil || !cmp.Equal(got, []int{2, 3}) {
		t.Errorf("received %v, %v", got, err)
	}
}

// A signal may be anything when plain SQL sends it. What cannot be decoded is an error that says so, and the run goes on.
func TestSignalOfAnotherType(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	w := workflow.Define("collect", func(ctx context.Context, _ int) (int, error) {
		if _, err := number.Wait(ctx, 0); err == nil || !strings.Contains(err.Error(), `decode signal "number" as int`) {
			return 0, fmt.Errorf("a text for a number: %w", err)
		}
		return number.Wait(ctx, 0)
	})
	b.svc.Register(w)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	kit.Must(t, workflow.DefineSignal[string]("number").Send(t.Context(), b.svc, handle.RunID(), "seven"))
	kit.Must(t, number.Send(t.Context(), b.svc, handle.RunID(), 7))
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
		t.Errorf("result %d, %v", got, err)
	}
}

func TestSignalsRefuse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a:b", "a/b", "a#1", "a\x00", strings.Repeat("x", 256)} {
		if said := panics(func() { workflow.DefineSignal[int](name) }); !strings.Contains(said, "signal name") && !strings.Contains(said, "step name") {
			t.Errorf("signal %q: panic %q, want one about the name", name, said)
		}
	}
	if said := panics(func() { workflow.DefineSignal[error]("e") }); !strings.Contains(said, "interface") {
		t.Errorf("a signal of an interface: panic %q", said)
	}
	b := setup(t)
	_, err := number.Wait(t.Context(), 0)
	kit.WantIs(t, err, workflow.ErrOutsideRun)
	_, _, err = number.Poll(t.Context())
	kit.WantIs(t, err, workflow.ErrOutsideRun)
	_, err = number.Wait(t.Context(), -1)
	kit.WantIs(t, err, workflow.ErrInvalidArgument)
	id, err := b.svc.CreateRun(t.Context(), "by hand", nil)
	kit.Must(t, err)
	for what, err := range map[string]error{
		"an empty key": number.Send(t.Context(), b.svc, id, 1, workflow.WithKey("")),
		"a long key":   number.Send(t.Context(), b.svc, id, 1, workflow.WithKey(strings.Repeat("x", 256))),
		"a bad run id": number.Send(t.Context(), b.svc, "", 1),
		"a channel":    workflow.DefineSignal[chan int]("c").Send(t.Context(), b.svc, id, make(chan int)),
	} {
		if !errors.Is(err, workflow.ErrInvalidArgument) {
			t.Errorf("%s: %v, want ErrInvalidArgument", what, err)
		}
	}
	err = workflow.DefineSignal[string]("s").Send(t.Context(), b.svc, id, strings.Repeat("x", 2<<20))
	kit.WantIs(t, err, workflow.ErrPayloadTooLarge)
}

// Whoever waits for a result in vain is told what the run waits for, and until when.
func TestResultSaysWhatHasToCome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("waits", func(ctx context.Context, long time.Duration) (int, error) { return number.Wait(ctx, long) })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	for long, words := range map[time.Duration][]string{
		0:         {"suspended", "it waits for signal:number"},
		time.Hour: {"suspended", "it waits for signal:number, step:number, until 20", "Z (in 59m"},
	} {
		handle, err := w.Start(t.Context(), b.svc, long)
		kit.Must(t, err)
		b.waiting(handle.RunID(), "signal:number")
		wantSays(t, impatient(t, handle), words...)
	}
}
