package migrations_test

import (
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Runs that the state API created before there was an engine: the pending ones can be claimed, as old as
// they are, the suspended ones wait for a person, and nobody touches the others.
func TestRowsFromBefore(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	up(t, db, schema)
	down(t, db, schema, 1)
	kit.Exec(t, db, `
INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
SELECT status, 'w', status, '{}', 5, 7
FROM unnest('{pending, running, suspended, completed, failed, cancelled}'::text[]) AS status`)
	up(t, db, schema)
	got := kit.One[string](t, db, `
SELECT string_agg(concat_ws(' ', status, run_at, suspended_for), ', ' ORDER BY id COLLATE "C")
FROM workflows.workflow_runs
WHERE owner IS NULL AND epoch = 0 AND take_overs = 0 AND wake_seq = 0 AND updated_at = 7`)
	if want := "cancelled, completed, failed, pending 5, running, suspended by_hand"; got != want {
		t.Errorf("runs = %s, want %s", got, want)
	}
	if needs := kit.One[int64](t, db, `SELECT needs_version FROM workflows.workflow_schema`); needs != 5 {
		t.Errorf("needs_version = %d, want that of the migration without which limits are not kept", needs)
	}
}

// What comes for a run raises its wake_seq, which stands in no index, and finds room in the run's own page.
func TestWakesWriteNoIndex(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PQ)
	kit.Exec(t, db, `
INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
SELECT lpad(n::text, 36, '0'), 'w', 'running', '{"order": 12345}', n, n
FROM generate_series(1, 2000) AS n`)
	tx, err := db.BeginTx(t.Context(), nil) // its counters are its own, and exact
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), `UPDATE workflows.workflow_runs SET wake_seq = wake_seq + 1 WHERE created_at % 12 = 0`); err != nil {
		t.Fatal(err)
	}
	var updated, hot int
	err = tx.QueryRowContext(t.Context(), `
SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'workflow_runs'`).Scan(&updated, &hot)
	if err != nil {
		t.Fatal(err)
	}
	if updated != 166 || hot < updated*9/10 {
		t.Errorf("%d of %d updates wrote no index, want nearly all of 166", hot, updated)
	}
}
