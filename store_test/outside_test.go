package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// opened gives a run a step that is scheduled, of a kind or a plain one.
func (b *bundle) opened(t *testing.T, id, name string, kind store.StepKind) {
	t.Helper()
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at, wake_at, request)
		VALUES ($1, $2, 'scheduled', nullif($3, ''), 1, 7, 7, 9, '"who"')`, id, name, string(kind))
}

// step returns a step of a run in short.
func (b *bundle) step(t *testing.T, id, name string) string {
	t.Helper()
	return kit.One[string](t, b.side, `
		SELECT coalesce((
		    SELECT concat_ws(' ', status, kind, seq, started_at, wake_at, request, result, error)
		    FROM workflows.workflow_steps
		    WHERE run_id = $1 AND step_name = $2), 'none')`, id, name)
}

func answers(id, name, result string) store.NewStep {
	return store.NewStep{RunID: id, Name: name, Status: store.StepSucceeded, Result: json.RawMessage(result)}
}

func refuses(id, name, message string) store.NewStep {
	return store.NewStep{RunID: id, Name: name, Status: store.StepFailed, Err: &store.Error{Message: message}}
}

// A scheduled step is completed from outside whoever executes its run, which counts, and wakes a run that is parked on it.
func TestCompletedFromOutside(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		parkedOn := func(waitsFor ...string) func(*testing.T) string {
			return func(t *testing.T) string {
				return b.parkedRun(t, st, store.Park{For: store.ForChildren, WaitsFor: waitsFor})
			}
		}
		for name, test := range map[string]struct {
			run  func(*testing.T) string
			want string
		}{
			"parked on it":      {parkedOn("signal:x", "step:s"), "suspended children 1 now {signal:x,step:s}"},
			"parked on another": {parkedOn("step:t", "signal:s"), "suspended children 1 never {step:t,signal:s}"},
			"owned":             {b.ownedRun, "running 1 never"},
			"pending":           {b.newRun, "pending 1 now"},
			"suspended by hand": {func(t *testing.T) string { return b.runIn(t, store.RunSuspended) }, "suspended by_hand 1 never"},
		} {
			for _, kind := range []store.StepKind{store.SignalStep, store.ApprovalStep, store.CallStep} {
				for _, in := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %s, in a transaction %t", name, kind, in), func(t *testing.T) {
						on, commit := st, func() error { return nil }
						if in {
							tx := kit.Begin(t, b.db)
							on, commit = st.In(tx), tx.Commit
						}
						good, bad := test.run(t), test.run(t)
						b.opened(t, good, "s", kind)
						b.opened(t, bad, "s", kind)
						for range 2 { // once more is the same
							kit.Must(t, on.SetStep(t.Context(), answers(good, "s", `{"ok": true}`)))
							kit.Must(t, on.SetStep(t.Context(), refuses(bad, "s", "no")))
						}
						kit.WantIs(t, on.SetStep(t.Context(), answers(good, "s", "2")), store.ErrStepFinished)
						kit.WantIs(t, on.SetStep(t.Context(), refuses(bad, "s", "never")), store.ErrStepFinished)
						kit.WantIs(t, on.SetStep(t.Context(), answers(bad, "s", "2")), store.ErrStepFinished)
						kit.Must(t, commit())
						for id, want := range map[string]string{
							good: `succeeded ` + string(kind) + ` 1 7 9 "who" {"ok": true}`,
							bad:  `failed ` + string(kind) + ` 1 7 9 "who" {"message": "no"}`,
						} {
							if got := b.step(t, id, "s"); got != want {
								t.Errorf("step\ngot  %s\nwant %s", got, want)
							}
							if got := b.stand(t, id); got != test.want {
								t.Errorf("run\ngot  %s\nwant %s", got, test.want)
							}
						}
					})
				}
			}
		}
	})
}

// What is no outcome of an open wait keeps its rules: it neither counts nor wakes, and a run that a worker executes refuses it.
func TestStepsThatWakeNobody(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		parked := func() string {
			return b.parkedRun(t, st, store.Park{For: store.ForSignal, WaitsFor: []string{"step:s"}})
		}
		scheduled := func(id string) store.NewStep { return store.NewStep{RunID: id, Name: "s", Status: store.StepScheduled} }
		finished := b.newRun(t)
		b.opened(t, finished, "s", store.SignalStep)
		kit.Must(t, st.UpdateRunStatus(t.Context(), finished, store.RunCompleted, nil, nil))
		done := b.newRun(t)
		b.opened(t, done, "s", store.SignalStep)
		kit.Must(t, st.SetStep(t.Context(), answers(done, "s", "1")))
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'completed', wake_seq = 0 WHERE id = $1`, done)
		for name, test := range map[string]struct {
			run  string
			kind store.StepKind // of the step that is open; "none": there is no step
			set  func(id string) store.NewStep
			want error
			step string
		}{
			"scheduled once more": {parked(), store.SignalStep, scheduled, nil, `scheduled signal 1 7 9 "who"`},
			"scheduled once more, owned": {
				b.ownedRun(t), store.SignalStep, scheduled, store.ErrRunOwned, `scheduled signal 1 7 9 "who"`,
			},
			"plain": {
				parked(), "", func(id string) store.NewStep { return answers(id, "s", "1") }, nil, `succeeded 1 7 9 "who" 1`,
			},
			"plain, owned": {
				b.ownedRun(t), "", func(id string) store.NewStep { return answers(id, "s", "1") }, store.ErrRunOwned, `scheduled 1 7 9 "who"`,
			},
			"new": {
				parked(), "none", func(id string) store.NewStep { return answers(id, "s", "1") }, nil, "succeeded 1",
			},
			"new, owned": {
				b.ownedRun(t), "none", func(id string) store.NewStep { return answers(id, "s", "1") }, store.ErrRunOwned, "none",
			},
			"of a finished run": {
				finished, "none", func(id string) store.NewStep { return answers(id, "s", "1") }, store.ErrRunFinished, `scheduled signal 1 7 9 "who"`,
			},
			"answered before, of a run that has finished since": {
				done, "none", func(id string) store.NewStep { return answers(id, "s", "1") }, nil, `succeeded signal 1 7 9 "who" 1`,
			},
		} {
			t.Run(name, func(t *testing.T) {
				if test.kind != "none" {
					b.opened(t, test.run, "s", test.kind)
				}
				before := b.stand(t, test.run)
				for _, on := range []*store.Store{st, st.In(kit.Begin(t, b.db))} {
					kit.WantIs(t, on.SetStep(t.Context(), test.set(test.run)), test.want)
					if on.Tx() != nil {
						kit.Must(t, on.Tx().Commit())
					}
				}
				if got := b.step(t, test.run, "s"); got != test.step {
					t.Errorf("step\ngot  %s\nwant %s", got, test.step)
				}
				if got := b.stand(t, test.run); got != before {
					t.Errorf("run\ngot  %s\nwant %s", got, before)
				}
			})
		}
	})
}

// Of a time-out and an answer from outside the first one stays, in both orders: who comes second is told so.
func TestAnswerAndTimeOut(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		setStep := func(on *store.Store, step store.NewStep) <-chan error {
			return kit.Go(t, func() error { return on.SetStep(t.Context(), step) })
		}
		timeOut := func(id string) *store.Take { return decisions(id)["time-out"].(*store.Take) }

		t.Run("while the answer is being written", func(t *testing.T) {
			id := b.ownedRun(t)
			b.opened(t, id, "wait", store.SignalStep)
			tx := kit.Begin(t, b.db)
			kit.Must(t, st.In(tx).SetStep(t.Context(), answers(id, "wait", "1")))
			wrote(t, st, store.Locked, timeOut(id))
			kit.Must(t, tx.Commit())
			wrote(t, st, store.Woken, timeOut(id))
			took := timeOut(id)
			took.WakeSeq = nil
			wrote(t, st, store.Exists, took)
			if got, want := b.step(t, id, "wait"), `succeeded signal 1 7 9 "who" 1`; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
		for _, in := range []bool{false, true} {
			t.Run(fmt.Sprintf("while the time-out is being written, the answer in a transaction %t", in), func(t *testing.T) {
				id := b.ownedRun(t)
				b.opened(t, id, "wait", store.SignalStep)
				writing := kit.Begin(t, b.db)
				wrote(t, st.In(writing), store.Written, timeOut(id))
				on := st
				var tx *sql.Tx
				if in {
					tx = kit.Begin(t, b.db)
					on = st.In(tx)
				}
				answered := setStep(on, answers(id, "wait", "1"))
				kit.Waiters(t, b.side, 1)
				kit.Must(t, writing.Commit())
				kit.WantIs(t, kit.Receive(t, "the answer", answered), store.ErrStepFinished)
				if in {
					kit.Must(t, tx.Commit())
				}
				if got, want := b.step(t, id, "wait"), `failed signal 7 9 "who" {"code": "timeout", "message": ""}`; got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	})
}

// The step is opened, and its run parked on it, while the answer waits for the run's row: it wakes the run all the same.
func TestCompletedWhileItIsOpened(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.ownedRun(t)
		tx := kit.Begin(t, b.side)
		kit.Exec(t, tx, `UPDATE workflows.workflow_runs SET status = 'suspended', owner = NULL, epoch = 2, waits_for = '{step:s}' WHERE id = $1`, id)
		kit.Exec(t, tx, `
			INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at)
			VALUES ($1, 's', 'scheduled', 'signal', 1, 7, 7)`, id)
		answered := make(chan error, 1)
		go func() { answered <- st.SetStep(t.Context(), answers(id, "s", `1`)) }()
		kit.Waiters(t, b.side, 1)
		kit.Must(t, tx.Commit())
		kit.Must(t, kit.Receive(t, "the answer", answered))
		if got := kit.One[bool](t, b.side, `SELECT wake_seq = 1 AND run_at IS NOT NULL FROM workflows.workflow_runs WHERE id = $1`, id); !got {
			t.Error("the run waits for a step that has ended")
		}
	})
}
