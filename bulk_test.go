package workflow_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// statuses are the runs with their statuses.
func (b *bench) statuses() []string {
	b.t.Helper()
	return kit.Column[string](b.t, b.db, `SELECT id || ' ' || status FROM workflows.workflow_runs ORDER BY id COLLATE "C"`)
}

// Many runs are cancelled, resumed and deleted by a filter, page by page; a dry run counts the same, and changes nothing.
func TestBulk(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		for _, run := range []struct {
			id, name string
			status   workflow.RunStatus
		}{
			{"a", "w", workflow.RunPending}, {"b", "w", workflow.RunSuspended}, {"c", "w", workflow.RunCompleted}, {"d", "w", workflow.RunFailed},
			{"e", "w", workflow.RunPending}, {"f", "other", workflow.RunPending}, {"g", "other", workflow.RunFailed},
		} {
			b.aged(run.id, "", run.name, run.status, 1, 1)
		}
		before := b.statuses()
		for _, test := range []struct {
			name string
			do   func(context.Context, workflow.Bulk) (workflow.BulkDone, error)
			some workflow.RunFilter
			n    int64
			want []string
		}{
			{"cancel", b.svc.CancelRuns, workflow.RunFilter{Workflow: "w"}, 3,
				[]string{"a cancelled", "b cancelled", "c completed", "d failed", "e cancelled", "f pending", "g failed"}},
			{"resume", b.svc.ResumeRuns, workflow.RunFilter{Statuses: []workflow.RunStatus{workflow.RunFailed}}, 2,
				[]string{"a cancelled", "b cancelled", "c completed", "d pending", "e cancelled", "f pending", "g pending"}},
			{"delete", b.svc.DeleteRuns, workflow.RunFilter{Workflow: "w"}, 5, []string{"f pending", "g pending"}},
		} {
			test.some.Limit = 2
			var pages []int64
			bulk := workflow.Bulk{Filter: test.some, DryRun: true, Progress: func(done workflow.BulkDone) { pages = append(pages, done.Selected) }}
			done, err := test.do(t.Context(), bulk)
			if kit.Must(t, err); done != (workflow.BulkDone{Selected: test.n}) || !cmp.Equal(before, b.statuses()) {
				t.Errorf("%s, dry run: %+v, %q", test.name, done, b.statuses())
			}
			if len(pages) != int(test.n+1)/2 || !slices.IsSorted(pages) {
				t.Errorf("%s: progress %v", test.name, pages)
			}
			bulk.DryRun = false
			done, err = test.do(t.Context(), bulk)
			if kit.Must(t, err); done != (workflow.BulkDone{Selected: test.n, Changed: test.n}) {
				t.Errorf("%s: %+v", test.name, done)
			}
			before = b.statuses()
			if diff := cmp.Diff(test.want, before); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.name, diff)
			}
		}
	})
}

// A run that has changed since it was selected is left, and the others are seen to; what selects all, or what cannot be, is refused.
func TestBulkLeavesAndRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"a", "b", "c"} {
		b.aged(id, "", "w", workflow.RunPending, 1, 1)
	}
	kit.Exec(t, b.db, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody' WHERE id = 'b'`)
	done, err := b.svc.DeleteRuns(t.Context(), workflow.Bulk{Filter: workflow.RunFilter{Workflow: "w"}})
	if kit.Must(t, err); done != (workflow.BulkDone{Selected: 3, Changed: 2, Left: 1}) || !cmp.Equal(b.statuses(), []string{"b running"}) {
		t.Errorf("%+v, %q", done, b.statuses())
	}
	var all workflow.Bulk
	for _, do := range []func() (workflow.BulkDone, error){
		func() (workflow.BulkDone, error) { return b.svc.CancelRuns(t.Context(), all) },
		func() (workflow.BulkDone, error) { return b.svc.ResumeRuns(t.Context(), all) },
		func() (workflow.BulkDone, error) { return b.svc.DeleteRuns(t.Context(), all) },
	} {
		_, err := do()
		kit.WantIs(t, err, workflow.ErrInvalidArgument)
	}
	_, err = b.svc.ResumeRuns(t.Context(), workflow.Bulk{Filter: workflow.RunFilter{Statuses: []workflow.RunStatus{workflow.RunPending}}})
	kit.WantIs(t, err, workflow.ErrInvalidArgument)
}
