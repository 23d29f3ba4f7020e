package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// at creates a run with a creation time, in Unix milliseconds.
func (b *bundle) at(t *testing.T, ms int64, id, name string, status workflow.RunStatus) {
	t.Helper()
	kit.Exec(t, b.side, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
		VALUES ($1, $2, $3, '1', $4, $4)`, id, name, string(status), ms)
}

func ids(runs []workflow.Run) []string {
	list := []string{}
	for _, run := range runs {
		list = append(list, run.ID)
	}
	return list
}

// all reads every page.
func all(t *testing.T, state workflow.State, filter workflow.RunFilter) []string {
	t.Helper()
	var list []string
	for range 100 {
		page, err := state.ListRuns(t.Context(), filter)
		kit.Must(t, err)
		list = append(list, ids(page.Runs)...)
		if page.Next == "" {
			return list
		}
		if len(page.Runs) != filter.Limit && filter.Limit != 0 {
			t.Fatalf("a page that is not the last has %d runs, want %d", len(page.Runs), filter.Limit)
		}
		filter.Cursor = page.Next
	}
	t.Fatal("the pages have no end")
	return nil
}

func TestListRunsFilters(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		b.at(t, 1000, "a", "order", workflow.RunPending)
		b.at(t, 2000, "b", "order", workflow.RunCompleted)
		b.at(t, 3000, "c", "refund", workflow.RunPending)
		b.at(t, 3000, "d", "refund", workflow.RunFailed)
		b.at(t, 4000, "e", "order", workflow.RunPending)

		ms := time.UnixMilli
		for name, test := range map[string]struct {
			filter workflow.RunFilter
			want   []string
		}{
			"all, newest first":      {workflow.RunFilter{}, []string{"e", "d", "c", "b", "a"}},
			"workflow":               {workflow.RunFilter{Workflow: "order"}, []string{"e", "b", "a"}},
			"unknown workflow":       {workflow.RunFilter{Workflow: "Order"}, []string{}},
			"status":                 {workflow.RunFilter{Statuses: []workflow.RunStatus{workflow.RunPending}}, []string{"e", "c", "a"}},
			"workflow and status":    {workflow.RunFilter{Workflow: "order", Statuses: []workflow.RunStatus{workflow.RunPending}}, []string{"e", "a"}},
			"from, inclusive":        {workflow.RunFilter{CreatedFrom: ms(3000)}, []string{"e", "d", "c"}},
			"from, in between":       {workflow.RunFilter{CreatedFrom: ms(3000).Add(time.Microsecond)}, []string{"e"}},
			"before, exclusive":      {workflow.RunFilter{CreatedBefore: ms(3000)}, []string{"b", "a"}},
			"before, in between":     {workflow.RunFilter{CreatedBefore: ms(3000).Add(time.Microsecond)}, []string{"d", "c", "b", "a"}},
			"from and before":        {workflow.RunFilter{CreatedFrom: ms(2000), CreatedBefore: ms(4000)}, []string{"d", "c", "b"}},
			"another zone":           {workflow.RunFilter{CreatedFrom: ms(4000).In(time.FixedZone("", 3600))}, []string{"e"}},
			"nothing":                {workflow.RunFilter{CreatedFrom: ms(4000), CreatedBefore: ms(4000)}, []string{}},
			"everything":             {workflow.RunFilter{Workflow: "refund", Statuses: []workflow.RunStatus{workflow.RunFailed}, CreatedFrom: ms(1), CreatedBefore: ms(9000)}, []string{"d"}},
			"limit of what there is": {workflow.RunFilter{Limit: 5}, []string{"e", "d", "c", "b", "a"}},
		} {
			t.Run(name, func(t *testing.T) {
				page, err := b.svc.ListRuns(t.Context(), test.filter)
				kit.Must(t, err)
				if diff := cmp.Diff(test.want, ids(page.Runs)); diff != "" {
					t.Errorf("runs (-want +got):\n%s", diff)
				}
				if page.Next != "" {
					t.Errorf("Next = %q on the last page", page.Next)
				}
			})
		}
	})
}

// A listed run is the run that GetRun returns.
func TestListRunsReturnsWholeRuns(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunFailed, 0, errOfFn))
		b.ownedRun(t)
		page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{})
		kit.Must(t, err)
		if len(page.Runs) != 2 {
			t.Fatalf("%d runs, want 2", len(page.Runs))
		}
		for _, listed := range page.Runs {
			got, err := b.svc.GetRun(t.Context(), listed.ID)
			kit.Must(t, err)
			if diff := cmp.Diff(got, listed); diff != "" {
				t.Errorf("run (-got +listed):\n%s", diff)
			}
		}
	})
}

func TestListRunsPages(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		var want []string
		for i := range 23 { // several share a creation time; ids with what a cursor is made of, and the longest
			id := fmt.Sprintf("%02d.%s", i, strings.Repeat("é.", i*4))
			if i == 7 {
				id = "07" + strings.Repeat("x", 253)
			}
			b.at(t, int64(1000+i/5), id, "w", workflow.RunPending)
			want = append(want, id)
		}
		slices.Reverse(want)
		for _, limit := range []int{1, 2, 5, 22, 23, 24, 1000} {
			if diff := cmp.Diff(want, all(t, b.svc.State, workflow.RunFilter{Limit: limit})); diff != "" {
				t.Errorf("limit %d (-want +got):\n%s", limit, diff)
			}
		}
	})
}

func TestListRunsDefaultLimit(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		kit.Exec(t, b.side, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
			SELECT 'r' || lpad(i::text, 3, '0'), 'w', 'pending', '1', i, i FROM generate_series(1, 101) AS i`)
		page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{})
		kit.Must(t, err)
		if len(page.Runs) != 100 || page.Runs[0].ID != "r101" || page.Next == "" {
			t.Errorf("%d runs from %s, next %q, want 100 from r101 and a next page", len(page.Runs), page.Runs[0].ID, page.Next)
		}
		page, err = b.svc.ListRuns(t.Context(), workflow.RunFilter{Cursor: page.Next})
		kit.Must(t, err)
		if diff := cmp.Diff([]string{"r001"}, ids(page.Runs)); diff != "" || page.Next != "" {
			t.Errorf("second page (-want +got), next %q:\n%s", page.Next, diff)
		}
	})
}

// Runs that come and go between two pages shift nothing: no other run is repeated or missed.
func TestListRunsPagesAreStable(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for i := range 12 {
			b.at(t, int64(1000+i/3), fmt.Sprintf("r%02d", i), "w", workflow.RunPending)
		}
		first, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{Limit: 4})
		kit.Must(t, err)
		if diff := cmp.Diff([]string{"r11", "r10", "r09", "r08"}, ids(first.Runs)); diff != "" {
			t.Fatalf("first page (-want +got):\n%s", diff)
		}

		for i := range 5 {
			b.newRun(t)                                                                               // newer than all
			b.at(t, 1002, fmt.Sprintf("r08x%d", i), "w", workflow.RunPending)                         // on the page that was read
			kit.Must(t, b.svc.DeleteRun(t.Context(), []string{"r08", "r11", "r10", "r09", "r03"}[i])) // the cursor's own run too
		}
		rest := all(t, b.svc.State, workflow.RunFilter{Limit: 4, Cursor: first.Next})
		if diff := cmp.Diff([]string{"r07", "r06", "r05", "r04", "r02", "r01", "r00"}, rest); diff != "" {
			t.Errorf("the other pages (-want +got):\n%s", diff)
		}
	})
}
