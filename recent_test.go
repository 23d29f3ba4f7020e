package workflow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// What has become of the newest runs is counted by what they have in common, as far as is looked, and it says so.
func TestRecentRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	recent, err := b.svc.RecentRuns(t.Context(), time.Hour, time.Minute)
	kit.Must(t, err)
	if recent.Cut || len(recent.Groups) > 0 || recent.Now.Sub(recent.From) != time.Hour {
		t.Errorf("without runs: %+v", recent)
	}
	now := kit.One[int64](t, b.db, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`)
	minute := now - now%60_000
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, suspended_for, input, created_at, updated_at)
		VALUES ('a', 'w', 'completed', NULL, '1', $1::bigint, $2::bigint + 1), ('b', 'w', 'completed', NULL, '1', $1, $2 + 59999), ('c', 'w', 'failed', NULL, '1', $1, $2 - 1),
		       ('d', 'v', 'suspended', 'signal', '1', $1, $2), ('old', 'w', 'completed', NULL, '1', $1 - 3600000, $2)`, now-600_000, minute)
	recent, err = b.svc.RecentRuns(t.Context(), time.Hour, time.Minute)
	kit.Must(t, err)
	slices.SortFunc(recent.Groups, func(x, y workflow.RecentRuns) int { return strings.Compare(string(x.Status), string(y.Status)) })
	want := []workflow.RecentRuns{
		{Workflow: "w", Status: workflow.RunCompleted, Ended: time.UnixMilli(minute), Runs: 2},
		{Workflow: "w", Status: workflow.RunFailed, Ended: time.UnixMilli(minute - 60_000), Runs: 1},
		{Workflow: "v", Status: workflow.RunSuspended, SuspendedFor: workflow.SuspendedForSignal, Runs: 1},
	}
	if diff := cmp.Diff(want, recent.Groups); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
		SELECT 'n' || n, 'w', 'completed', '1', $1::bigint + n, $1 FROM generate_series(1, 10000) AS n`, now-60_000)
	recent, err = b.svc.RecentRuns(t.Context(), time.Hour, time.Hour)
	kit.Must(t, err)
	if len(recent.Groups) != 1 || recent.Groups[0].Runs != 10_000 || !recent.Cut || recent.From.UnixMilli() != now-60_000+1 {
		t.Errorf("of more runs than are looked at: %+v", recent)
	}
	for _, bad := range [][2]time.Duration{{0, 0}, {time.Hour, 0}, {time.Hour, time.Second}, {time.Minute, time.Hour}, {1000 * time.Hour, time.Hour}} {
		_, err := b.svc.RecentRuns(t.Context(), bad[0], bad[1])
		kit.WantIs(t, err, workflow.ErrInvalidArgument)
	}
}
