package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A step that waits is written as one that is scheduled, until when and what it asks for, by the run's owner alone. One that is
// there is left alone, unless it was set back.
func TestSchedule(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		minute := time.Minute
		schedule := func(run string, epoch int64, name string) store.Write {
			return &store.Schedule{
				Owned: store.Owned{RunID: run, Epoch: epoch}, Name: name, Kind: store.ApprovalStep, Seq: 3, Took: time.Second, WakeIn: &minute,
				Request: json.RawMessage(`{"of": "a \"refund\""}`),
			}
		}
		const scheduled = `scheduled approval 3 1000 60000 {"of": "a \"refund\""}`
		stands := func(run, name, want string) {
			t.Helper()
			got := kit.One[string](t, b.side, `SELECT coalesce((
				SELECT concat_ws(' ', status, kind, seq, updated_at - started_at, wake_at - updated_at, request, waiting, child_id, error)
				FROM workflows.workflow_steps WHERE run_id = $1 AND step_name = $2), '')`, run, name)
			if got != want {
				t.Errorf("step %s is %q, want %q", name, got, want)
			}
		}
		id, locked := b.ownedRun(t), b.ownedRun(t)
		b.holdRow(t, locked)
		wantOutcomes(t, st, []store.Write{schedule(id, 1, "alone")}, store.Written)
		wantOutcomes(t, st, []store.Write{schedule(id, 1, "a"), schedule(id, 0, "b"), schedule(locked, 1, "c"), schedule(id, 1, "d")},
			store.Written, store.Lost, store.Locked, store.Written)
		for _, name := range []string{"alone", "a", "d"} {
			stands(id, name, scheduled)
		}
		wantOutcomes(t, st, []store.Write{schedule(id, 0, "b")}, store.Lost)
		wantOutcomes(t, st, []store.Write{schedule(locked, 1, "c")}, store.Locked)
		stands(id, "b", "")
		stands(locked, "c", "")

		wantOutcomes(t, st, []store.Write{schedule(id, 1, "alone")}, store.Exists)
		if _, err := st.Write(t.Context(), []store.Write{schedule(id, 1, "alone"), schedule(id, 1, "e")}); !store.IsPermanent(err) {
			t.Errorf("among others, a step that is there: %v, want an error", err)
		}
		stands(id, "e", "")
		for status, want := range map[string]struct {
			outcome store.Outcome
			stands  string
		}{
			"pending":   {store.Written, scheduled},
			"failed":    {store.Written, scheduled},
			"succeeded": {store.Exists, "succeeded 1"},
		} {
			kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, waiting, updated_at)
				VALUES ($1, $2, $2, 1, 1)`, id, status)
			wantOutcomes(t, st, []store.Write{schedule(id, 1, status)}, want.outcome)
			stands(id, status, want.stands)
		}
	})
}
