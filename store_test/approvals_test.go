package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// asked opens an approval, by hand; from and until are NULL if empty and 0.
func (b *bundle) asked(t *testing.T, runID, step, from string, at, until int64) {
	t.Helper()
	kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at, wake_at, request)
		VALUES ($1, $2, 'scheduled', 'approval', 1, $3, $3, nullif($4::bigint, 0),
		        jsonb_strip_nulls(jsonb_build_object('for', 1, 'from', nullif($5, '')::jsonb)))`, runID, step, at, until, from)
}

func TestListApprovals(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience})
		for id, status := range map[string]store.RunStatus{"a": "suspended", "b.1": "pending", "c": "running", "d": "cancelled", "e": "failed"} {
			b.at(t, 1, id, "w"+id, status)
		}
		const far = 9000000000000
		b.asked(t, "a", "x", `["anna"]`, 3000, far)
		b.asked(t, "a", "1.y", `["anna", "ben"]`, 2000, 0)
		b.asked(t, "b.1", "x", ``, 2000, 0)
		b.asked(t, "b.1", "z", `["an"]`, 2000, 0)
		b.asked(t, "c", "x", `["ben"]`, 1000, 0)
		b.asked(t, "c", "over", `["ben"]`, 4000, 5000)
		b.asked(t, "d", "x", `["anna"]`, 4000, 0)
		b.asked(t, "e", "x", `["anna"]`, 4000, far)
		b.asked(t, "c", "decided", `["ben"]`, 1000, 0)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET status = 'succeeded', result = '1' WHERE step_name = 'decided'`)

		for _, c := range []struct {
			from string
			want []string
		}{
			{"", []string{"a x", "a 1.y", "b.1 x", "b.1 z", "c x"}},
			{"anna", []string{"a x", "a 1.y", "b.1 x"}},
			{"ben", []string{"a 1.y", "b.1 x", "c x"}},
			{"an", []string{"b.1 x", "b.1 z"}},
		} {
			for _, limit := range []int{1, 2, 5, 100} {
				if diff := cmp.Diff(c.want, openApprovals(t, st, store.ApprovalFilter{From: c.from, Limit: limit})); diff != "" {
					t.Errorf("of %q by %d (-want +got):\n%s", c.from, limit, diff)
				}
			}
		}
		page, err := st.ListApprovals(t.Context(), store.ApprovalFilter{Limit: 1})
		if err != nil || len(page.Approvals) != 1 {
			t.Fatalf("the newest: %v, %v", page, err)
		}
		if a := page.Approvals[0]; a.Workflow != "wa" || a.AskedAt.UnixMilli() != 3000 || a.Until.UnixMilli() != far ||
			string(a.Request) != `{"for": 1, "from": ["anna"]}` {
			t.Errorf("the newest: %+v, request %s", a, a.Request)
		}
	})
}

// openApprovals reads every page.
func openApprovals(t *testing.T, st *store.Store, filter store.ApprovalFilter) (all []string) {
	t.Helper()
	for range 100 {
		page, err := st.ListApprovals(t.Context(), filter)
		kit.Must(t, err)
		for _, a := range page.Approvals {
			all = append(all, a.RunID+" "+a.Step)
		}
		if filter.Cursor = page.Next; page.Next == "" {
			return all
		}
	}
	t.Fatal("the pages have no end")
	return nil
}
