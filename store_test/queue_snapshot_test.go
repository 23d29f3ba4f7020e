package store_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// An old snapshot elsewhere keeps the index entries of all runs that have passed. With marks a claim of a queue does not walk them,
// nor does the look for due queues. What grows with what has passed since that snapshot: the versions of the turn, many to a page;
// the count of what is running, since nothing tells the entry of a run that was running from one of a run that is; and the way from
// one partition to the next.
func TestQueuesBesideAnOldSnapshot(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	worker(t, st, "me")
	for _, q := range []store.Queue{{Name: "plain"}, {Name: "limited", MaxRunning: 10}, {Name: "split"}} {
		kit.Must(t, st.SetQueue(t.Context(), q))
	}
	texts := queueTexts(t, counter, st)
	old := kit.Begin(t, b.side, sql.LevelRepeatableRead)
	kit.One[int](t, old, `SELECT count(*) FROM workflows.workflow_runs`)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT queue || n, 'w', 'pending', '1', n, n, n, queue, 2, CASE WHEN queue = 'split' THEN 'p' || n % 100 ELSE '' END
		FROM unnest('{plain,limited,split}'::text[]) AS queue, generate_series(1, 20000) AS n;
		UPDATE workflows.workflow_runs SET status = 'running', owner = 'me', epoch = 1, run_at = NULL;
		UPDATE workflows.workflow_runs SET status = 'completed', owner = NULL`)
	turns, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	kit.Exec(t, turns, `SET default_transaction_isolation = 'read committed'`) // where the database's default is SERIALIZABLE, others would be in the way
	for n := range 2000 {
		kit.Exec(t, turns, `UPDATE workflows.workflow_queue_turns SET seq = seq + 1`)
		if n%500 == 0 {
			kit.Exec(t, turns, `ANALYZE workflows.workflow_queue_turns`)
		}
	}
	kit.Must(t, turns.Close())
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT queue, 'w', 'pending', '1', 1, 1, 30000, queue, 2, CASE WHEN queue = 'split' THEN 'p7' ELSE '' END
		FROM unnest('{plain,limited,split}'::text[]) AS queue`)
	conn := b.planned(t, "force_generic_plan", texts)
	pages := func(what, execute string, most int) int {
		t.Helper()
		return least(t, what, limit{most, unbounded}, func() spent { return spends(t, conn, execute) }).pages
	}
	marked := func(queue string) string {
		execute := executeSingle(queue, 10)
		if queue == "split" {
			execute = executeClaim(queue, "", 10)
		}
		return strings.Replace(execute, "0,0,0,0,0}", "20000,20000,20000,20000,20000}", 1)
	}
	find := fmt.Sprintf("EXECUTE find_queues ('{w}', '{limited,plain,split}', 't', '{%s}')", strings.Join(strings.Fields(strings.Repeat("20000 ", 15)), ","))
	for _, test := range []struct {
		what, execute string
		most, least   int
	}{
		{"a claim with marks", marked("plain"), 250, 0},
		{"a look for due queues with marks", find, 400, 0},
		{"a claim without marks", executeSingle("plain", 10), 5000, 200},
		{"a claim of a limited queue with marks", marked("limited"), 5000, 200},
		{"a claim of a queue with partitions, with marks", marked("split"), 5000, 0},
	} {
		got := pages(test.what, test.execute, test.most)
		if got > test.most || got < test.least {
			t.Errorf("%s read %d pages, want %d to %d", test.what, got, test.least, test.most)
		}
	}
	kit.Must(t, old.Rollback())
	for _, queue := range []string{"plain", "limited", "split"} {
		got := least(t, "a claim of "+queue, limit{250, unbounded}, func() spent {
			kit.Exec(t, b.side, `VACUUM workflows.workflow_runs`) // each time: autovacuum too has snapshots
			kit.Exec(t, b.side, `VACUUM workflows.workflow_queue_turns`)
			return spends(t, conn, marked(queue))
		}).pages
		if got > 250 {
			t.Errorf("once the snapshot is gone, a claim of %q reads %d pages", queue, got)
		}
	}
}
