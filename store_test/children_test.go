package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// fanOut is the step of a run, owned under epoch 1, that starts n children and waits for them: they are called after it,
// "<run>.<step>.<number>".
func fanOut(run, step string, n int) *store.Schedule {
	children := store.Children{Workflow: "child", Depth: 1, Awaited: true}
	for i := range n {
		children.IDs = append(children.IDs, fmt.Sprintf("%s.%s.%04d", run, step, i))
		children.Inputs = append(children.Inputs, json.RawMessage(fmt.Sprintf(`{"n":%d}`, i)))
	}
	return &store.Schedule{Owned: store.Owned{RunID: run, Epoch: 1}, Name: step, Kind: store.CallStep, Seq: 1, Children: &children}
}

// wantOutcomes writes rows in one statement.
func wantOutcomes(t *testing.T, st *store.Store, rows []store.Write, want ...store.Outcome) {
	t.Helper()
	got, err := st.Write(t.Context(), rows)
	kit.Must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// started has a run start n children by one step, and a worker execute all of them.
func (b *bundle) started(t *testing.T, st *store.Store, run, step string, n int) []*store.End {
	t.Helper()
	scheduled := fanOut(run, step, n)
	wantOutcomes(t, st, []store.Write{scheduled}, store.Written)
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody', epoch = 1, run_at = NULL
		WHERE parent_id = $1 AND parent_step = $2`, run, step)
	ends := make([]*store.End, n)
	for i, id := range scheduled.Children.IDs {
		ends[i] = &store.End{
			Owned: store.Owned{RunID: id, Epoch: 1}, Status: store.RunCompleted, Output: json.RawMessage(`1`), ParentID: run, ParentStep: step,
		}
	}
	return ends
}

// A step that starts children is one statement, alone and among others; the step says that it waits, and each child whose it is.
func TestFanOut(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for _, among := range []bool{false, true} {
			b := setup(t, access)
			st := writer(t, b)
			id, minute := b.ownedRun(t), time.Minute
			scheduled := fanOut(id, "s", 3)
			scheduled.WakeIn, scheduled.Request = &minute, json.RawMessage(`"please"`)
			scheduled.Children.Inputs[1] = json.RawMessage(`"a \"quote\", a \\ and {braces}"`)
			scheduled.Children.Version, scheduled.Children.Delay, scheduled.Children.Deadline = "v1", time.Second, time.Hour
			spawned := fanOut(b.ownedRun(t), "s", 1)
			spawned.Kind, spawned.Children.Awaited, spawned.Children.Abandoned = store.SpawnStep, false, true
			rows := []store.Write{scheduled, spawned}
			if among {
				wantOutcomes(t, st, append(rows, &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "other"}),
					store.Written, store.Written, store.Written)
			} else {
				wantOutcomes(t, st, rows[:1], store.Written)
				wantOutcomes(t, st, rows[1:], store.Written)
			}
			steps := kit.One[string](t, b.side, `SELECT string_agg(concat_ws(' ', status, kind, seq, waiting, wake_at - updated_at, request,
					replace(child_id, run_id, '')), ', ' ORDER BY waiting)
				FROM workflows.workflow_steps WHERE step_name = 's'`)
			if want := `scheduled call 1 3 60000 "please" .s.0000, succeeded spawn 1 .s.0000`; steps != want {
				t.Errorf("got  %s\nwant %s", steps, want)
			}
			children := kit.One[string](t, b.side, `SELECT string_agg(concat_ws(' ', replace(id, parent_id, ''), workflow, status, input, version,
					run_at - created_at, deadline_at - created_at, parent_step, depth, abandoned), ', ' ORDER BY parent_step, id)
				FROM workflows.workflow_runs WHERE parent_id IS NOT NULL`)
			want := `.s.0000 child pending {"n": 0} v1 1000 3600000 s 1, ` +
				`.s.0001 child pending "a \"quote\", a \\ and {braces}" v1 1000 3600000 s 1, ` +
				`.s.0002 child pending {"n": 2} v1 1000 3600000 s 1, .s.0000 child pending {"n": 0} 0 1 t`
			if children != want {
				t.Errorf("got  %s\nwant %s", children, want)
			}
			// Sent once more, because the answer was lost.
			for _, row := range rows {
				wantOutcomes(t, st, []store.Write{row}, store.Exists)
			}
		}
	})
}

// The id of a child is never another run's, and who has lost the run starts nothing.
func TestFanOutRefused(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id, locked := b.ownedRun(t), b.ownedRun(t)
		b.holdRow(t, locked)
		taken := fanOut(id, "s", 3)
		_, err := st.CreateRun(t.Context(), store.NewRun{ID: taken.Children.IDs[1], Workflow: "w", Input: json.RawMessage(`1`)})
		kit.Must(t, err)
		other := &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 1}, Name: "other"}
		for _, rows := range [][]store.Write{{taken}, {taken, other}} {
			if _, err := st.Write(t.Context(), rows); !store.IsPermanent(err) {
				t.Errorf("%d rows: error %v, want a duplicate key", len(rows), err)
			}
		}
		lost := fanOut(id, "s", 3)
		lost.Epoch = 0
		for _, rows := range [][]store.Write{{lost}, {fanOut(locked, "s", 2)}} {
			want := []store.Outcome{store.Lost}
			if rows[0] != store.Write(lost) {
				want[0] = store.Locked
			}
			wantOutcomes(t, st, rows, want...)
			wantOutcomes(t, st, append(rows, &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: 0}, Name: "other"}), want[0], store.Lost)
		}
		n := kit.One[int](t, b.side, `SELECT (SELECT count(*) FROM workflows.workflow_steps) + (SELECT count(*) FROM workflows.workflow_runs)`)
		if n != 3 {
			t.Errorf("%d rows of steps and runs, want 3", n)
		}
	})
}

// The ends of children count their step down, and the last one wakes the parent: once, and only if it waits for that.
func TestChildEnd(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		parked, busy, elsewhere := b.ownedRun(t), b.ownedRun(t), b.ownedRun(t)
		var rows []store.Write
		for _, run := range []string{parked, busy, elsewhere} {
			for _, end := range b.started(t, st, run, "s", 4) {
				rows = append(rows, end)
			}
		}
		park := func(run, reason string) store.Write {
			return &store.Park{Owned: store.Owned{RunID: run, Epoch: 1}, For: store.ForChildren, WaitsFor: []string{reason}}
		}
		wantOutcomes(t, st, []store.Write{park(parked, "step:s"), park(elsewhere, "step:other")}, store.Written, store.Written)
		stands := func(want string) {
			t.Helper()
			got := ""
			for _, run := range []string{parked, busy, elsewhere} {
				got += kit.One[string](t, b.side, `SELECT format('%s %s %s %s, ', step.waiting, run.status, run.wake_seq, run.run_at IS NOT NULL)
					FROM workflows.workflow_runs AS run JOIN workflows.workflow_steps AS step ON step.run_id = run.id WHERE run.id = $1`, run)
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		stands("4 suspended 0 f, 4 running 0 f, 4 suspended 0 f, ")
		wantOutcomes(t, st, rows[:1], store.Written)
		// Siblings and several families in one batch.
		wantOutcomes(t, st, []store.Write{rows[1], rows[2], rows[4], rows[5], rows[8]},
			store.Written, store.Written, store.Written, store.Written, store.Written)
		stands("1 suspended 0 f, 2 running 0 f, 3 suspended 0 f, ")
		wantOutcomes(t, st, []store.Write{rows[0], rows[3], rows[6], rows[7], rows[9], rows[10], rows[11]},
			store.Lost, store.Written, store.Written, store.Written, store.Written, store.Written, store.Written)
		stands("0 suspended 1 t, 0 running 1 f, 0 suspended 1 f, ")
		wantOutcomes(t, st, rows[:1], store.Lost)
		ended := kit.One[string](t, b.side, `SELECT string_agg(DISTINCT concat_ws(' ', status, output, epoch, owner), ', ')
			FROM workflows.workflow_runs WHERE parent_id IS NOT NULL`)
		if want := "completed 1 2"; ended != want {
			t.Errorf("the children are %s, want %s", ended, want)
		}
	})
}
