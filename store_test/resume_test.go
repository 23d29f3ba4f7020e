package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Resume edits nothing that later records depend on: a failed step is attempted again only if nothing was recorded after it in
// its branch, around it or within it.
func TestResumeAttemptsAgain(t *testing.T) {
	tests := map[string]struct {
		steps string // name, status, seq, updated_at
		again []string
	}{
		"the last step":            {`('a', 'succeeded', 1, 1), ('b', 'failed', 2, 2)`, []string{"b"}},
		"a handled failure":        {`('card', 'failed', 1, 1), ('invoice', 'succeeded', 2, 2)`, nil},
		"a wait before it":         {`('a', 'succeeded', 1, 1), ('b', 'pending', 2, 2)`, []string{"b"}},
		"a wait after it":          {`('card', 'failed', 1, 1), ('remind', 'pending', 2, 2)`, []string{"remind"}},
		"another branch's steps":   {`('x/a', 'failed', 1, 1), ('y/a', 'succeeded', 2, 2), ('xy/a', 'succeeded', 3, 3)`, []string{"x/a"}},
		"failures in two branches": {`('x/a', 'failed', 1, 1), ('y/a', 'failed', 2, 2)`, []string{"x/a", "y/a"}},
		"its own branch's steps":   {`('x/a', 'failed', 1, 1), ('x/b', 'succeeded', 2, 2), ('y/a', 'failed', 3, 3)`, []string{"y/a"}},
		"the root after a branch":  {`('x/a', 'failed', 1, 1), ('b', 'succeeded', 2, 2)`, nil},
		"a branch after the root":  {`('a', 'failed', 1, 1), ('x/y/b', 'succeeded', 2, 2)`, nil},
		"a branch within":          {`('x/a', 'failed', 1, 1), ('x/y/b', 'succeeded', 2, 2)`, nil},
		"the branch around it":     {`('x/y/a', 'failed', 1, 1), ('x/b', 'succeeded', 2, 2)`, nil},
		"steps before it":          {`('x/a', 'succeeded', 1, 9), ('b', 'failed', 2, 2)`, []string{"b"}},
		"no order, nothing newer":  {`('a', 'succeeded', 1, 1), ('api', 'failed', NULL, 2)`, []string{"api"}},
		"no order, a newer step":   {`('api', 'failed', NULL, 1), ('a', 'succeeded', 1, 2)`, nil},
		"steps of the state API":   {`('api', 'failed', NULL, 1), ('other', 'succeeded', NULL, 2), ('b', 'failed', 1, 1)`, []string{"api", "b"}},
	}
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for name, test := range tests {
			for _, status := range []workflow.RunStatus{workflow.RunFailed, workflow.RunCancelled} {
				id := b.newRun(t)
				kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, seq, updated_at, wake_at, attempts)
					SELECT '`+id+`', name, status, seq, at, 5, '{"count": 3, "failures": []}'
					FROM (VALUES `+test.steps+`) AS step (name, status, seq, at)`)
				kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, status, nil, nil))
				before := b.stepRows(t, id)
				kit.Must(t, b.svc.Resume(t.Context(), id))
				var again []string
				for step, row := range b.stepRows(t, id) {
					if row != before[step] {
						again = append(again, step)
						if want := "pending 0 -"; row != want {
							t.Errorf("%s: step %s is %q, want %q", name, step, row, want)
						}
					}
				}
				slices.Sort(again)
				if diff := cmp.Diff(test.again, again); diff != "" {
					t.Errorf("%s, %s: attempted again (-want +got):\n%s", name, status, diff)
				}
			}
		}
	})
}

// stepRows returns what Resume may change of a run's steps, by name.
func (b *bundle) stepRows(t *testing.T, id string) map[string]string {
	t.Helper()
	rows, err := b.side.QueryContext(t.Context(), `SELECT step_name, concat_ws(' ', status, attempts -> 'count', coalesce(wake_at::text, '-'))
		FROM workflows.workflow_steps WHERE run_id = $1`, id)
	kit.Must(t, err)
	defer rows.Close()
	all := make(map[string]string)
	for rows.Next() {
		var name, row string
		kit.Must(t, rows.Scan(&name, &row))
		all[name] = row
	}
	kit.Must(t, rows.Err())
	return all
}

// A run that was suspended by hand is never claimed; whatever moves it on, or ends it, takes the reason away.
func TestSuspendedByHand(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		reason := func(id string) store.SuspendReason {
			t.Helper()
			run, err := b.svc.GetRun(t.Context(), id)
			kit.Must(t, err)
			return run.SuspendedFor
		}
		for what, move := range map[string]func(id string) error{
			"running": func(id string) error { return b.svc.UpdateRunStatus(t.Context(), id, workflow.RunRunning, nil, nil) },
			"failed":  func(id string) error { return b.svc.UpdateRunStatus(t.Context(), id, workflow.RunFailed, nil, nil) },
			"cancel":  func(id string) error { return b.svc.Cancel(t.Context(), id) },
		} {
			id := b.runIn(t, workflow.RunSuspended)
			if got := reason(id); got != store.ForHand {
				t.Errorf("suspended for %q, want %q", got, store.ForHand)
			}
			got, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10})
			if err != nil || len(got.Runs) > 0 {
				t.Errorf("claimed %v, %v", got.Runs, err)
			}
			kit.Must(t, move(id))
			if got := reason(id); got != "" {
				t.Errorf("%s: still suspended for %q", what, got)
			}
		}
	})
}

// A run that failed because it was blocked for too long goes on when it is resumed.
func TestResumeBlockedRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		worker(t, st, "me")
		id := b.newRun(t)
		if _, err := st.BlockRun(t.Context(), claim(t, st, "me").Owned, &store.Error{Code: "mismatch"}, time.Hour); err != nil {
			t.Fatal(err)
		}
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET blocked_at = 1`)
		b.due(t)
		blocked := claim(t, st, "me")
		if expired, err := st.BlockRun(t.Context(), blocked.Owned, &store.Error{Code: "mismatch"}, time.Hour); !blocked.Blocked() || !expired || err != nil {
			t.Fatalf("expired %t, %v; blocked %t", expired, err, blocked.Blocked())
		}
		wantOutcomes(t, st, []store.Write{&store.End{Owned: blocked.Owned, Status: store.RunFailed, Err: &store.Error{Code: "mismatch"}}}, store.Written)
		kit.Must(t, b.svc.Resume(t.Context(), id))
		b.due(t)
		run := claim(t, st, "me")
		if expired, err := st.BlockRun(t.Context(), run.Owned, &store.Error{}, time.Hour); run.Blocked() || expired || err != nil {
			t.Errorf("resumed: %+v; blocked again: expired %t, %v", run, expired, err)
		}
	})
}
