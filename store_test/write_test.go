package store_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

func writer(t *testing.T, b *bundle) *store.Store {
	t.Helper()
	return store.New(b.db, store.Options{Schema: "workflows", Timeout: patience, LockTimeout: patience})
}

// Each row of a statement stands for itself: it is told which were written, and the others are untouched.
func TestWriteManyRows(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		must(t, st.RegisterWorker(t.Context(), "me", patience))
		locked, lost, finished, owned := b.ownedRun(t), b.ownedRun(t), b.runIn(t, workflow.RunCompleted), b.ownedRun(t)
		done, gone := b.ownedRun(t), b.ownedRun(t)
		release := b.holdRow(t, locked)
		null := json.RawMessage("null")
		quoted := json.RawMessage(`"a \"quote\", a \\ and {braces}"`)
		step := func(id string, epoch int64, name string) *store.Checkpoint {
			return &store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: epoch}, Name: name, Result: quoted}
		}
		end := func(id string, epoch int64) store.End {
			return store.End{Owned: store.Owned{RunID: id, Epoch: epoch}, Status: store.RunCompleted, Output: null}
		}
		rows := []struct {
			row  store.Write
			want bool
		}{
			{store.NewRun{ID: "claimed", Workflow: "w", Input: quoted, Owner: "me"}, true},
			{store.NewRun{ID: "pending", Workflow: "w", Input: null}, true},
			{store.NewRun{ID: "leaseless", Workflow: "w", Input: null, Owner: "nobody"}, true}, // waits for a claim
			{step(owned, 1, "s"), true},
			{step(owned, 1, "t"), true},
			{step(lost, 0, "s"), false},
			{step(locked, 1, "s"), false},
			{step(finished, 0, "s"), false},
			{step("unknown", 1, "s"), false},
			{end(done, 1), true},
			{end(gone, 2), false},
			{end(locked, 1), false},
			{end(finished, 0), false},
		}
		var writes []store.Write
		var want []bool
		for _, r := range rows {
			writes, want = append(writes, r.row), append(want, r.want)
		}
		got, err := st.Write(t.Context(), writes)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("written (-want +got):\n%s", diff)
		}
		release()

		stands := one[string](t, b.side, `SELECT string_agg(id || ' ' || status || ' ' || coalesce(owner, '-') || ' ' || epoch, ', ' ORDER BY id)
			FROM workflows.workflow_runs WHERE id IN ('claimed', 'leaseless', 'pending')`)
		if want := "claimed running me 1, leaseless pending - 0, pending pending - 0"; stands != want {
			t.Errorf("got  %s\nwant %s", stands, want)
		}
		run, err := b.svc.GetRun(t.Context(), done)
		if err != nil || run.Status != workflow.RunCompleted || string(run.Output) != "null" || run.Owner != "" {
			t.Errorf("ended: %+v, %v", run, err)
		}
		found, err := b.svc.GetStepState(t.Context(), owned, "t")
		if err != nil || string(found.Result) != string(quoted) {
			t.Errorf("recorded: %s, %v; want %s", found.Result, err, quoted)
		}
		for _, id := range []string{lost, locked, gone} {
			if run, err := b.svc.GetRun(t.Context(), id); err != nil || run.Status != workflow.RunRunning || b.hasStep(t, id) {
				t.Errorf("refused: %+v, %v; want it untouched", run, err)
			}
		}
	})
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
		must(t, err)
		for what, row := range map[string]store.Write{
			"a value":  step("refused", "1e999999"),
			"a step":   step("exists", "2"),
			"a run":    store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage("1")},
			"a finish": store.End{Owned: store.Owned{RunID: id, Epoch: 1}, Status: store.RunCompleted, Output: json.RawMessage("1e999999")},
		} {
			if _, err := st.Write(t.Context(), []store.Write{step("before", "1"), row, step("after", "3")}); !store.IsRejected(err) {
				t.Errorf("%s: error %v, want one of the server that refuses it", what, err)
			}
		}
		if steps := one[string](t, b.side, "SELECT string_agg(step_name || result, ' ') FROM workflows.workflow_steps"); steps != "exists1" {
			t.Errorf("steps %s, want the one that was there before", steps)
		}

		// Alone, a row that exists is no error.
		for _, row := range []store.Write{step("exists", "2"), store.NewRun{ID: id, Workflow: "w", Input: json.RawMessage("1")}} {
			if written, err := st.Write(t.Context(), []store.Write{row}); err != nil || written[0] {
				t.Errorf("%T that exists, alone: written %t, %v", row, written[0], err)
			}
		}
	})
}
