package workflow_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A list that may look at so many runs only finds all that match on its pages, each once, also where runs were created in one moment.
func TestListRunsMaxLook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
		SELECT 'r' || lpad(n::text, 3, '0'), 'w', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END, '1', 1000 + n / 25, 1, CASE WHEN n <= 40 THEN 'parent' END,
		       CASE WHEN n <= 40 THEN 'all' END
		FROM generate_series(1, 100) AS n`)
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_attributes (created_at, run_id, name, value)
		SELECT created_at, id, name, '1' FROM workflows.workflow_runs CROSS JOIN unnest('{shop,day}'::text[]) AS name`)
	failed := []workflow.RunStatus{workflow.RunFailed}
	for name, filter := range map[string]workflow.RunFilter{
		"by status":                  {Statuses: failed, MaxLook: 7},
		"by status and an attribute": {Statuses: failed, Attributes: map[string]string{"shop": "1"}, MaxLook: 7},
		"by two attributes":          {Statuses: failed, Attributes: map[string]string{"shop": "1", "day": "1"}, MaxLook: 7},
		"with full pages":            {Statuses: failed, Limit: 2, MaxLook: 25},
		"all at once":                {Statuses: failed, MaxLook: 100},
		"without a bound":            {Statuses: failed},
	} {
		var found, want []string
		pages, ended := 0, 0
		for {
			page, err := b.svc.ListRuns(t.Context(), filter)
			kit.Must(t, err)
			pages++
			for _, run := range page.Runs {
				found = append(found, run.ID)
			}
			if !page.LookedTo.IsZero() {
				ended++
			}
			if filter.MaxLook == 7 && len(page.Runs) > 1 {
				t.Errorf("%s: %d runs match among 7", name, len(page.Runs))
			}
			if filter.Cursor = page.Next; page.Next == "" {
				break
			}
		}
		for i := 100; i > 0; i -= 10 {
			want = append(want, fmt.Sprintf("r%03d", i))
		}
		if !slices.Equal(found, want) {
			t.Errorf("%s: %q, want %q", name, found, want)
		}
		if filter.MaxLook == 7 && (pages != 15 || ended != 14) {
			t.Errorf("%s: %d pages, of which %d ended by the bound; want 15 and 14", name, pages, ended)
		}
	}
	page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{ParentID: "parent", MaxLook: 5})
	kit.Must(t, err)
	if len(page.Runs) != 5 || page.Next != "" {
		t.Errorf("of 40 children %d were listed, and %q; want the 5 that may be looked at", len(page.Runs), page.Next)
	}
	_, err = b.svc.ListRuns(t.Context(), workflow.RunFilter{MaxLook: -1})
	kit.WantIs(t, err, workflow.ErrInvalidArgument)
}
