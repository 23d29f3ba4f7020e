package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

func writer(t *testing.T, b *bundle) *store.Store {
	t.Helper()
	return store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: kit.Patience, Lease: kit.Patience})
}

// A case of TestWrite: a row, what becomes of it alone and among others, and how the run and its step stand then.
type writeCase struct {
	name string
	row  store.Write
	want store.Outcome
}

func writeCases(t *testing.T, b *bundle) []writeCase {
	t.Helper()
	lost, finished := b.ownedRun(t), b.runIn(t, workflow.RunCompleted)
	locked := b.ownedRun(t)
	b.holdRow(t, locked)
	woken := b.ownedRun(t)
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET wake_seq = 7 WHERE id = $1`, woken)
	minute := time.Minute
	null := json.RawMessage("null")
	quoted := json.RawMessage(`"a \"quote\", a \\ and {braces}"`)
	failed := &store.Error{Message: "it failed"}
	owned := func(id string, epoch int64) store.Owned { return store.Owned{RunID: id, Epoch: epoch} }
	kinds := map[string]func(store.Owned) store.Write{
		"checkpoint": func(o store.Owned) store.Write {
			return &store.Checkpoint{Owned: o, Name: "s", Seq: 3, Took: time.Second, Result: quoted}
		},
		"failure": func(o store.Owned) store.Write {
			return &store.Failure{Owned: o, Name: "s", Seq: 3, Took: time.Second, Err: failed, Count: 1, RetryIn: &minute}
		},
		"take": func(o store.Owned) store.Write {
			return &store.Take{Owned: o, Name: "s", Kind: store.SignalStep, Seq: 3, Took: time.Second, Result: quoted, SignalSeq: 4}
		},
		"park": func(o store.Owned) store.Write {
			return &store.Park{Owned: o, WakeIn: &minute, For: store.ForTime, WakeSeq: 0}
		},
		"end": func(o store.Owned) store.Write {
			return &store.End{Owned: o, Status: store.RunCompleted, Output: null}
		},
	}
	cases := []writeCase{
		{"start, claimed", store.NewRun{ID: "claimed", Workflow: "w", Input: quoted, Owner: "me"}, store.Written},
		{"start, pending", store.NewRun{ID: "pending", Workflow: "w", Version: "v1", Input: null}, store.Written},
		{"start, of a worker without a lease", store.NewRun{ID: "leaseless", Workflow: "w", Input: null, Owner: "nobody"}, store.Written},
		{"park, woken", kinds["park"](owned(woken, 1)), store.Woken},
	}
	for name, row := range kinds {
		cases = append(cases,
			writeCase{name, row(owned(b.ownedRun(t), 1)), store.Written},
			writeCase{name + ", of an older epoch", row(owned(lost, 0)), store.Lost},
			writeCase{name + ", finished", row(owned(finished, 0)), store.Lost},
			writeCase{name + ", unknown", row(owned("unknown", 1)), store.Lost},
			writeCase{name + ", locked", row(owned(locked, 1)), store.Locked})
	}
	return cases
}

// Each row of a statement stands for itself: it is told what became of it, and those that are refused are untouched. A row
// that is written alone is told the same.
func TestWrite(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for _, together := range []bool{false, true} {
			b := setup(t, access)
			st := writer(t, b)
			kit.Must(t, st.RegisterWorker(t.Context(), store.Worker{ID: "me"}, kit.Patience))
			cases := writeCases(t, b)
			rows := make([]store.Write, len(cases))
			want, got := map[string]store.Outcome{}, map[string]store.Outcome{}
			for i, c := range cases {
				rows[i], want[c.name] = c.row, c.want
			}
			if together {
				all, err := st.Write(t.Context(), rows)
				kit.Must(t, err)
				for i, c := range cases {
					got[c.name] = all[i]
				}
			} else {
				for i, c := range cases {
					one, err := st.Write(t.Context(), rows[i:i+1])
					kit.Must(t, err)
					got[c.name] = one[0]
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("together %t: outcomes (-want +got):\n%s", together, diff)
			}
			b.wantWritten(t, cases)
		}
	})
}

// wantWritten checks what TestWrite has written, and that nothing else was.
func (b *bundle) wantWritten(t *testing.T, cases []writeCase) {
	t.Helper()
	stands := kit.One[string](t, b.side, `SELECT string_agg(id || ' ' || status || ' ' || coalesce(owner, '-') || ' ' || epoch
			|| coalesce(' ' || version, ''), ', ' ORDER BY id)
		FROM workflows.workflow_runs WHERE id IN ('claimed', 'leaseless', 'pending')`)
	if want := "claimed running me 1, leaseless pending - 1, pending pending - 0 v1"; stands != want {
		t.Errorf("got  %s\nwant %s", stands, want)
	}
	for _, c := range cases {
		o, ok := ownedOf(c.row)
		if !ok || o.RunID == "unknown" {
			continue
		}
		var stands string
		kit.Must(t, b.side.QueryRowContext(t.Context(), `
			SELECT concat_ws(' ', run.status, run.owner, run.epoch, run.suspended_for, run.run_at - run.updated_at, run.output, step.status,
			       step.seq, step.updated_at - step.started_at, step.wake_at - step.updated_at, step.result, step.error,
			       step.attempts -> 'count', step.attempts #> '{failures,0,error}')
			FROM workflows.workflow_runs AS run
			LEFT JOIN workflows.workflow_steps AS step ON step.run_id = run.id
			WHERE id = $1`, o.RunID).Scan(&stands))
		want := "running somebody 1"
		switch {
		case c.want == store.Lost && o.Epoch == 0 && stands != want:
			want = "completed 1"
		case c.want == store.Written:
			want = map[string]string{
				"checkpoint": `running somebody 1 succeeded 3 1000 "a \"quote\", a \\ and {braces}"`,
				"failure":    `running somebody 1 pending 3 1000 60000 {"message": "it failed"} 1 {"message": "it failed"}`,
				"take":       `running somebody 1 succeeded 3 1000 "a \"quote\", a \\ and {braces}"`,
				"park":       "suspended 2 time 60000",
				"end":        "completed 2 null",
			}[c.name]
		}
		if stands != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, stands, want)
		}
	}
}

func ownedOf(w store.Write) (store.Owned, bool) {
	switch w := w.(type) {
	case *store.Checkpoint:
		return w.Owned, true
	case *store.Failure:
		return w.Owned, true
	case *store.Take:
		return w.Owned, true
	case *store.Park:
		return w.Owned, true
	case *store.End:
		return w.Owned, true
	default:
		return store.Owned{}, false
	}
}

// A value that the server refuses, or a row that exists, fails the statement, and nothing of it is written.
func TestWriteRefusedRow(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.ownedRun(t)
		step := func(name, result string) store.Write {
			return &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: name, Result: json.RawMessage(result)}
		}
		_, err := st.Write(t.Context(), []store.Write{step("exists", "1")})
		kit.Must(t, err)
		for what, row := range map[string]store.Write{
			"a value": step("refused", "1e999999"),
			"a step":  step("exists", "2"),
			"a run":   store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage("1")},
			"an end": &store.End{
				Owned: store.Owned{RunID: id, Epoch: 1}, Status: store.RunCompleted, Output: json.RawMessage("1e999999"),
			},
		} {
			if _, err := st.Write(t.Context(), []store.Write{step("before", "1"), row, step("after", "3")}); !store.IsPermanent(err) {
				t.Errorf("%s: error %v, want one of the server that refuses it", what, err)
			}
		}
		if steps := kit.One[string](t, b.side, "SELECT string_agg(step_name || result, ' ') FROM workflows.workflow_steps"); steps != "exists1" {
			t.Errorf("steps %s, want the one that was there before", steps)
		}

		// Alone, a row that exists is no error.
		for _, row := range []store.Write{
			step("exists", "2"), store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage("1")},
			&store.Failure{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "exists", Err: &store.Error{}},
		} {
			if outcomes, err := st.Write(t.Context(), []store.Write{row}); err != nil || outcomes[0] != store.Exists {
				t.Errorf("%T that exists, alone: %v, %v", row, outcomes, err)
			}
		}
	})
}
