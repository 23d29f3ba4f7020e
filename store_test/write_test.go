package store_test

import (
	"encoding/json"
	"fmt"
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
		step := func(id string, epoch int64, name string) store.Checkpoint {
			return store.Checkpoint{Owned: store.Owned{RunID: id, Epoch: epoch}, Name: name, Result: quoted}
		}
		end := func(id string, epoch int64) store.End {
			return store.End{Owned: store.Owned{RunID: id, Epoch: epoch}, Status: store.RunCompleted, Output: null}
		}
		_, err := st.Write(t.Context(), []store.Write{step(owned, 1, "once")})
		must(t, err)

		rows := []struct {
			row  store.Write
			want bool
		}{
			{store.NewRun{ID: "claimed", Workflow: "w", Input: quoted, Owner: "me"}, true},
			{store.NewRun{ID: "pending", Workflow: "w", Input: null}, true},
			{store.NewRun{ID: "leaseless", Workflow: "w", Input: null, Owner: "nobody"}, true}, // waits for a claim
			{store.NewRun{ID: owned, Workflow: "w", Input: null}, false},
			{step(owned, 1, "s"), true},
			{step(owned, 1, "t"), true},
			{step(owned, 1, "once"), false},
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

// A value that the server refuses fails the statement, and nothing of it is written.
func TestWriteRefusedValue(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.ownedRun(t)
		var writes []store.Write
		for n, result := range []string{"1", "1e999999", "3"} {
			writes = append(writes, store.Checkpoint{
				Owned: store.Owned{RunID: id, Epoch: 1}, Name: fmt.Sprint(n), Result: json.RawMessage(result),
			})
		}
		if _, err := st.Write(t.Context(), writes); !store.IsRejected(err) {
			t.Errorf("error %v, want one of the server that refuses a value", err)
		}
		if b.hasStep(t, id) {
			t.Error("a part of it was written")
		}
	})
}
