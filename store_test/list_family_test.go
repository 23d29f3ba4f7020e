package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Runs are listed by what they are suspended for, and by who has started them, together with every other filter, page by page.
func TestListRunsOfAFamily(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for i, id := range []string{"p", "c1", "c2", "c3", "g", "other"} {
			b.at(t, int64(1000*(1+i)), id, "w", workflow.RunSuspended)
		}
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs
			SET parent_id = CASE WHEN id LIKE 'c%' THEN 'p' WHEN id = 'g' THEN 'c1' END,
			    parent_step = CASE WHEN id IN ('c1', 'c2') THEN 'all' END,
			    suspended_for = CASE WHEN id IN ('c2', 'g') THEN 'signal' ELSE 'children' END,
			    waits_for = CASE WHEN id = 'c2' THEN ARRAY['signal:a "b"', 'step:x\y'] END`)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'completed', suspended_for = NULL WHERE id = 'c3'`)
		for name, test := range map[string]struct {
			filter workflow.RunFilter
			want   []string
		}{
			"children":             {workflow.RunFilter{ParentID: "p"}, []string{"c3", "c2", "c1"}},
			"children, page":       {workflow.RunFilter{ParentID: "p", Limit: 1}, []string{"c3", "c2", "c1"}},
			"of a status":          {workflow.RunFilter{ParentID: "p", Statuses: []workflow.RunStatus{workflow.RunCompleted}}, []string{"c3"}},
			"of a child":           {workflow.RunFilter{ParentID: "c1"}, []string{"g"}},
			"of nobody":            {workflow.RunFilter{ParentID: "g"}, nil},
			"for a signal":         {workflow.RunFilter{SuspendedFor: workflow.SuspendedForSignal}, []string{"g", "c2"}},
			"for children":         {workflow.RunFilter{SuspendedFor: workflow.SuspendedForChildren, Limit: 2}, []string{"other", "c1", "p"}},
			"children, for signal": {workflow.RunFilter{ParentID: "p", SuspendedFor: workflow.SuspendedForSignal}, []string{"c2"}},
		} {
			var got []string
			for filter := test.filter; ; {
				page, err := b.svc.ListRuns(t.Context(), filter)
				kit.Must(t, err)
				got = append(got, ids(page.Runs)...)
				if filter.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		run, err := b.svc.GetRun(t.Context(), "c2")
		if err != nil || run.ParentID != "p" || run.ParentStep != "all" || !cmp.Equal(run.WaitsFor, []string{`signal:a "b"`, `step:x\y`}) {
			t.Errorf("run %+v, %v", run, err)
		}
	})
}
