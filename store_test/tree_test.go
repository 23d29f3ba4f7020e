package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// runs returns how all runs of a tree stand, by what follows the root's id.
func (b *bundle) runs(t *testing.T, root string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for line := range strings.SplitSeq(kit.One[string](t, b.side, `SELECT string_agg(id || '=' || status, ',')
			FROM workflows.workflow_runs WHERE starts_with(id, '`+root+`')`), ",") {
		id, status, _ := strings.Cut(line, "=")
		all[strings.TrimPrefix(id, root)] = status
	}
	return all
}

// steps returns how the steps of a tree stand, by what follows the root's id.
func (b *bundle) steps(t *testing.T, root string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	lines := kit.One[string](t, b.side, `SELECT string_agg(concat(run_id, '/', step_name, '=', status, ' ', waiting), ',')
		FROM workflows.workflow_steps WHERE starts_with(run_id, '`+root+`')`)
	for line := range strings.SplitSeq(lines, ",") {
		id, status, _ := strings.Cut(line, "=")
		all[strings.TrimPrefix(id, root)] = status
	}
	return all
}

// A run is cancelled with what it has started, and so on, but for what was started to go on; and the caller is told what was
// cancelled. Steps of cancelled runs count too.
func TestCancelTree(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for _, within := range []bool{false, true} {
			cancel := func(id string) []string {
				t.Helper()
				on := st
				if within {
					tx := kit.Begin(t, b.db)
					defer func() { kit.Must(t, tx.Commit()) }()
					on = st.In(tx)
				}
				ids, err := on.CancelRun(t.Context(), id)
				kit.Must(t, err)
				slices.Sort(ids)
				return ids
			}
			root := b.ownedRun(t)
			ends := b.started(t, st, root, "s", 3)
			b.started(t, st, ends[1].RunID, "u", 2)
			spawned := b.started(t, st, ends[2].RunID, "u", 1)
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET parent_step = NULL WHERE id = $1`, spawned[0].RunID)
			wantOutcomes(t, st, []store.Write{ends[2]}, store.Written)
			abandoned := fanOut(root, "left", 1)
			abandoned.Children.Abandoned = true
			wantOutcomes(t, st, []store.Write{abandoned}, store.Written)
			below := abandoned.Children.IDs[0]
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody', epoch = 1 WHERE id = $1`, below)
			b.started(t, st, below, "u", 1)

			want := []string{root, root + ".s.0000", root + ".s.0001", root + ".s.0001.u.0000", root + ".s.0001.u.0001", root + ".s.0002.u.0000"}
			if within { // a part of it first
				if diff := cmp.Diff(want[2:5], cancel(want[2])); diff != "" {
					t.Errorf("cancelled (-want +got):\n%s", diff)
				}
				if got := b.steps(t, root)["/s"]; got != "scheduled 1" {
					t.Errorf("the step is %s, want scheduled 1", got)
				}
				want = slices.Delete(want, 2, 5)
			}
			if diff := cmp.Diff(want, cancel(root)); diff != "" {
				t.Errorf("cancelled (-want +got):\n%s", diff)
			}
			wantRuns := map[string]string{
				"": "cancelled", ".s.0000": "cancelled", ".s.0001": "cancelled", ".s.0001.u.0000": "cancelled", ".s.0001.u.0001": "cancelled",
				".s.0002": "completed", ".s.0002.u.0000": "cancelled", ".left.0000": "running", ".left.0000.u.0000": "running",
			}
			if diff := cmp.Diff(wantRuns, b.runs(t, root)); diff != "" {
				t.Errorf("runs (-want +got):\n%s", diff)
			}
			wantSteps := map[string]string{
				"/s": "scheduled 0", ".s.0001/u": "scheduled 0", ".s.0002/u": "scheduled 1", "/left": "scheduled 1", ".left.0000/u": "scheduled 1",
			}
			if diff := cmp.Diff(wantSteps, b.steps(t, root)); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if got := kit.One[int](t, b.side, `SELECT max(wake_seq) FROM workflows.workflow_runs WHERE starts_with(id, $1)`, root); got != 0 {
				t.Errorf("a run that was cancelled was woken: wake_seq %d", got)
			}
			if got := cancel(root); len(got) > 0 {
				t.Errorf("cancelled once more: %v", got)
			}
		}
		_, err := st.CancelRun(t.Context(), "unknown")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
	})
}

// With a run that failed or was cancelled goes what it waits for: under the same ids, by the rule for failed steps, and so on.
func TestResumeTree(t *testing.T) {
	type state = map[string]string
	tests := map[string]struct {
		tree  map[string]int // children, by the path of a step
		set   []string       // on it, <root> for the root's id
		id    string         // what is resumed
		runs  state
		steps state
	}{
		"a failed child": {
			tree: map[string]int{"/s": 1},
			set:  []string{runIs("", "failed"), runIs(".s.0000", "failed"), stepIs("/s", "failed", 0)},
			runs: state{"": "pending", ".s.0000": "pending"}, steps: state{"/s": "scheduled 1"},
		},
		"a cancelled child": {
			tree: map[string]int{"/s": 1},
			set:  []string{runIs("", "failed"), runIs(".s.0000", "cancelled"), stepIs("/s", "failed", 0)},
			runs: state{"": "pending", ".s.0000": "pending"}, steps: state{"/s": "scheduled 1"},
		},
		"a failed child's failed child": {
			tree: map[string]int{"/s": 1, ".s.0000/s": 1},
			set: []string{
				runIs("", "failed"), runIs(".s.0000", "failed"), runIs(".s.0000.s.0000", "failed"),
				stepIs("/s", "failed", 0), stepIs(".s.0000/s", "failed", 0),
			},
			runs:  state{"": "pending", ".s.0000": "pending", ".s.0000.s.0000": "pending"},
			steps: state{"/s": "scheduled 1", ".s.0000/s": "scheduled 1"},
		},
		"a failure that was handled": {
			tree: map[string]int{"/s": 1},
			set: []string{
				runIs("", "failed"), runIs(".s.0000", "failed"), stepIs("/s", "failed", 0),
				`INSERT INTO workflows.workflow_steps (run_id, step_name, status, seq, updated_at) VALUES ('<root>', 'after', 'succeeded', 2, 1)`,
			},
			runs: state{"": "pending", ".s.0000": "failed"}, steps: state{"/s": "failed 0", "/after": "succeeded "},
		},
		"a cancelled tree": {
			tree: map[string]int{"/s": 4, ".s.0000/u": 1},
			set: []string{
				runIs("", "cancelled"), runIs(".s.0000", "cancelled"), runIs(".s.0000.u.0000", "cancelled"), runIs(".s.0001", "cancelled"),
				runIs(".s.0002", "completed"), runIs(".s.0003", "failed"), stepIs("/s", "scheduled", 0), stepIs(".s.0000/u", "scheduled", 0),
			},
			runs: state{
				"": "pending", ".s.0000": "pending", ".s.0000.u.0000": "pending", ".s.0001": "pending", ".s.0002": "completed", ".s.0003": "failed",
			},
			steps: state{"/s": "scheduled 2", ".s.0000/u": "scheduled 1"},
		},
		"a step of several that failed": {
			tree:  map[string]int{"/s": 2},
			set:   []string{runIs("", "failed"), runIs(".s.0000", "failed"), runIs(".s.0001", "completed"), stepIs("/s", "failed", 0)},
			runs:  state{"": "pending", ".s.0000": "failed", ".s.0001": "completed"},
			steps: state{"/s": "scheduled 0"},
		},
		"a step that never had children": {
			set: []string{
				runIs("", "failed"),
				`INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, updated_at)
				 VALUES ('<root>', 's', 'failed', 'call', 1, 1)`,
			},
			runs: state{"": "pending"}, steps: state{"/s": "pending "},
		},
		"a child alone": {
			tree: map[string]int{"/s": 2}, id: ".s.0000",
			set:   []string{runIs(".s.0000", "failed"), stepIs("/s", "scheduled", 1)},
			runs:  state{"": "running", ".s.0000": "pending", ".s.0001": "running"},
			steps: state{"/s": "scheduled 2"},
		},
		"a child of a closed step": {
			tree: map[string]int{"/s": 1}, id: ".s.0000",
			set:  []string{runIs(".s.0000", "failed"), stepIs("/s", "failed", 0)},
			runs: state{"": "running", ".s.0000": "pending"}, steps: state{"/s": "failed 0"},
		},
		"a run that is not finished": {
			tree: map[string]int{"/s": 1},
			set:  []string{runIs(".s.0000", "failed"), stepIs("/s", "scheduled", 0)},
			runs: state{"": "running", ".s.0000": "failed"}, steps: state{"/s": "scheduled 0"},
		},
	}
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for name, test := range tests {
			for _, within := range []bool{false, true} {
				root := b.ownedRun(t)
				for _, path := range slices.SortedFunc(maps.Keys(test.tree), func(a, b string) int { return len(a) - len(b) }) {
					id, step, _ := strings.Cut(path, "/")
					b.started(t, st, root+id, step, test.tree[path])
				}
				for _, set := range test.set {
					kit.Exec(t, b.side, strings.ReplaceAll(set, "<root>", root))
				}
				resume := st.ResumeRun
				if within {
					resume = func(ctx context.Context, id string) error {
						tx := kit.Begin(t, b.db)
						defer func() { kit.Must(t, tx.Commit()) }()
						return st.In(tx).ResumeRun(ctx, id)
					}
				}
				err := resume(t.Context(), root+test.id)
				var refused *store.TransitionError
				if finished := test.runs[test.id] == "pending"; finished != (err == nil) || !finished && !errors.As(err, &refused) {
					t.Errorf("%s: %v", name, err)
				}
				if diff := cmp.Diff(test.runs, b.runs(t, root)); diff != "" {
					t.Errorf("%s, in a transaction %t: runs (-want +got):\n%s", name, within, diff)
				}
				if diff := cmp.Diff(test.steps, b.steps(t, root)); diff != "" {
					t.Errorf("%s, in a transaction %t: steps (-want +got):\n%s", name, within, diff)
				}
			}
		}
	})
}

// runIs sets a run of a tree to a final status, for TestResumeTree.
func runIs(path, status string) string {
	return fmt.Sprintf(`UPDATE workflows.workflow_runs SET status = '%s', owner = NULL, epoch = 2 WHERE id = '<root>%s'`, status, path)
}

// stepIs sets a step of it.
func stepIs(path, status string, waiting int) string {
	id, name, _ := strings.Cut(path, "/")
	return fmt.Sprintf(`UPDATE workflows.workflow_steps SET status = '%s', waiting = %d WHERE run_id = '<root>%s' AND step_name = '%s'`,
		status, waiting, id, name)
}
