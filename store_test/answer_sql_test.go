package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A plainAnswerer answers steps by the statement of docs/operations.md, as whoever copies it does.
type plainAnswerer struct{ text string }

func newPlainAnswerer(t *testing.T) plainAnswerer {
	t.Helper()
	return plainAnswerer{documented(t, "Answering a step from SQL", 2)}
}

// answer returns how many rows the statement updated.
func (p plainAnswerer) answer(ctx context.Context, on kit.Execer, run, step, result string) (int64, error) {
	text := strings.NewReplacer("'order-17'", "'"+run+"'", "'translate'", "'"+step+"'", `'"une tasse"'`, "'"+result+"'").Replace(p.text)
	done, err := on.ExecContext(ctx, text)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

// The statement that is documented for whoever has no Go leaves the rows that SetStep leaves, alone and in a transaction, and tells
// whether it counts.
func TestAnswerFromSQL(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st, plain := writer(t, b), newPlainAnswerer(t)
		by := map[string]func(run, step string) bool{
			"Go": func(run, step string) bool { return st.SetStep(t.Context(), answers(run, step, `{"ok": true}`)) == nil },
			"SQL": func(run, step string) bool {
				n, err := plain.answer(t.Context(), b.db, run, step, `{"ok": true}`)
				kit.Must(t, err)
				return n == 1
			},
			"SQL, in a transaction": func(run, step string) bool {
				tx := kit.Begin(t, b.db)
				n, err := plain.answer(t.Context(), tx, run, step, `{"ok": true}`)
				kit.Must(t, err)
				kit.Must(t, tx.Commit())
				return n == 1
			},
		}
		parkedOn := func(waitsFor string) func(*testing.T) string {
			return func(t *testing.T) string {
				return b.parkedRun(t, st, store.Park{For: store.ForChildren, WaitsFor: []string{waitsFor}})
			}
		}
		type left struct {
			Counts    bool
			Run, Step string
		}
		for name, test := range map[string]struct {
			run   func(*testing.T) string
			spoil func(id string)
			want  left
		}{
			"parked on it":      {run: parkedOn("step:s"), want: left{Counts: true, Run: "suspended children 1 now {step:s}"}},
			"parked on another": {run: parkedOn("step:t"), want: left{Counts: true, Run: "suspended children 1 never {step:t}"}},
			"owned":             {run: b.ownedRun, want: left{Counts: true, Run: "running 1 never"}},
			"answered before": {run: parkedOn("step:s"), spoil: func(id string) {
				kit.Must(t, st.SetStep(t.Context(), answers(id, "s", "1")))
			}, want: left{Run: "suspended children 1 now {step:s}"}},
			"of a finished run": {run: b.ownedRun, spoil: func(id string) {
				_, err := st.CancelRun(t.Context(), id)
				kit.Must(t, err)
			}, want: left{Run: "cancelled 0 never"}},
		} {
			for _, kind := range []store.StepKind{store.CallStep, store.SignalStep, store.ApprovalStep} {
				test.want.Step = "succeeded " + string(kind) + ` 1 7 9 "who" {"ok": true}`
				switch name {
				case "answered before":
					test.want.Step = "succeeded " + string(kind) + ` 1 7 9 "who" 1`
				case "of a finished run":
					test.want.Step = "scheduled " + string(kind) + ` 1 7 9 "who"`
				}
				for who, answer := range by {
					id := test.run(t)
					b.opened(t, id, "s", kind)
					if test.spoil != nil {
						test.spoil(id)
					}
					got := left{answer(id, "s"), b.stand(t, id), b.step(t, id, "s")}
					if diff := cmp.Diff(test.want, got); diff != "" {
						t.Errorf("%s, %s, by %s (-want +got):\n%s", name, kind, who, diff)
					}
				}
			}
		}
		if n, err := plain.answer(t.Context(), b.db, b.ownedRun(t), "s", "1"); n != 0 || err != nil {
			t.Errorf("no such step: %d, %v", n, err)
		}
	})
}

// Of a time-out and an answer by the statement the first one stays, in both orders.
func TestAnswerFromSQLOrTimeOut(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st, plain := writer(t, b), newPlainAnswerer(t)

		id := b.ownedRun(t)
		b.opened(t, id, "wait", store.SignalStep)
		tx := kit.Begin(t, b.db)
		n, err := plain.answer(t.Context(), tx, id, "wait", "1")
		kit.Must(t, err)
		wrote(t, st, store.Locked, decisions(id)["time-out"])
		kit.Must(t, tx.Commit())
		wrote(t, st, store.Woken, decisions(id)["time-out"])
		if got := b.step(t, id, "wait"); n != 1 || got != `succeeded signal 1 7 9 "who" 1` {
			t.Errorf("the answer first: %d, %s", n, got)
		}

		id = b.ownedRun(t)
		b.opened(t, id, "wait", store.SignalStep)
		writing := kit.Begin(t, b.db)
		wrote(t, st.In(writing), store.Written, decisions(id)["time-out"])
		answering := kit.Begin(t, b.db)
		answered := kit.Go(t, func() int64 {
			n, err := plain.answer(t.Context(), answering, id, "wait", "1")
			if err != nil {
				t.Error(err)
			}
			return n
		})
		kit.Waiters(t, b.side, 1)
		kit.Must(t, writing.Commit())
		n = kit.Receive(t, "the answer", answered)
		kit.Must(t, answering.Commit())
		if got := b.step(t, id, "wait"); n != 0 || !strings.HasPrefix(got, "failed signal") {
			t.Errorf("the time-out first: %d, %s", n, got)
		}
	})
}
