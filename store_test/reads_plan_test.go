package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A read is one of the statements that look at runs.
type read struct {
	name, statement, arguments string
	do                         func() error
	pages                      int // at most; 0: those of the table
}

func (r read) execute() string {
	if r.arguments == "" {
		return "EXECUTE " + r.statement
	}
	return "EXECUTE " + r.statement + " (" + r.arguments + ")"
}

// What people and programs read of runs costs as many pages among a million runs as among a few, planned on empty tables or with
// statistics, and writes nothing. Only the statistics read the table once. With -v it says what each takes; a million (make soak) are made
// in a minute or two.
func TestReadsAmongManyRuns(t *testing.T) {
	t.Parallel()
	runs := 20_000
	if pgtest.Soak() {
		runs = 1_000_000
	}
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience})
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	defer conn.Close()
	sent := func(statement string, args ...any) {
		t.Helper()
		_, err := conn.ExecContext(context.WithoutCancel(t.Context()), statement, args...)
		kit.Must(t, err)
	}
	ctx := t.Context()
	list := func(filter store.RunFilter) func() error {
		filter.Limit = 100
		return func() error { _, err := st.ListRuns(ctx, filter); return err }
	}
	reads := []read{
		{"first page", "list_runs", "NULL, NULL, NULL, NULL, NULL, NULL, 101, NULL, NULL", list(store.RunFilter{}), 110},
		{"page in the middle", "list_runs", "10000, 'x', NULL, NULL, NULL, NULL, 101, NULL, NULL", list(store.RunFilter{}), 110},
		{"page of a workflow", "list_runs", "NULL, NULL, NULL, 'even', NULL, NULL, 101, NULL, NULL", list(store.RunFilter{}), 220},
		{"page of none that is there, to a bound", "list_runs", "NULL, NULL, 10000, NULL, '{failed}', NULL, 101, NULL, 'x'", list(store.RunFilter{}), 1300},
		{"how far back that is", "look_back", "NULL, NULL, NULL, 9999", list(store.RunFilter{Workflow: "even", MaxLook: 10_000}), 200},
		{"recent runs", "recent_runs", "9000000000000, 60000, 10000", func() error { _, err := st.RecentRuns(ctx, 1, 1, 1); return err }, 1300},
		{"run", "get_run", "'run 7000'", func() error { _, err := st.GetRun(ctx, "none"); return unlessNotFound(err) }, 8},
		{"steps", "list_steps", "'run 7000'", func() error { _, err := st.ListSteps(ctx, "none"); return unlessNotFound(err) }, 16},
		{"where it is", "whereabouts", "'run 7000'", func() error { _, err := st.Whereabouts(ctx, "none"); return unlessNotFound(err) }, 20},
		{"results of three", "find_ended", "'{run 7000,run 10,none}'", func() error { _, _, err := st.Ended(ctx, []string{"none"}); return err }, 24},
		{"stats", "get_stats", "", func() error { _, err := st.GetStats(ctx); return err }, 0},
	}
	texts := make(map[string]string)
	sent("SET plan_cache_mode = force_generic_plan")
	for _, read := range reads {
		texts[read.statement] = statement(t, counter, read.statement, read.do)
	}
	prepare := func() {
		for name, text := range texts {
			sent("PREPARE " + name + " AS " + text)
		}
	}
	prepare()
	for _, read := range reads {
		sent(read.execute())
	}
	sent("SET session_replication_role = replica") // no check of the foreign key, which is true by construction
	sent(`
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, epoch)
		SELECT 'run ' || n, CASE n % 2 WHEN 0 THEN 'even' ELSE 'odd' END, 'completed', '{"order": 1}', to_jsonb(repeat('x', 100)), n, n, 2
		FROM generate_series(1, $1::int) AS n`, runs)
	sent(`
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at, started_at, seq)
		SELECT 'run ' || n, 'step ' || k, 'succeeded', to_jsonb(repeat('x', 100)), n, n, k
		FROM generate_series(1, $1::int) AS n, generate_series(1, 2) AS k`, runs)
	sent("VACUUM workflows.workflow_runs, workflows.workflow_steps") // hint bits
	for _, planned := range []string{"on empty tables", "with statistics"} {
		if planned == "with statistics" {
			sent("ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_steps; DEALLOCATE ALL")
			prepare()
		}
		for _, read := range reads {
			most := read.pages
			if most == 0 {
				most = kit.One[int](t, conn, "SELECT pg_relation_size('workflows.workflow_runs') / 8192 + 10")
			}
			p := least(t, fmt.Sprintf("among %d runs, planned %s: %s", runs, planned, read.name), limit{pages: most}, func() spent {
				return spentOn(explained(t, conn, read.execute()))
			}).plan
			t.Logf("%.2f ms", p["Actual Total Time"])
			if p.pages() > most || p.wal() > 0 {
				t.Errorf("%s, planned %s, reads %d pages and writes %d bytes of WAL, want at most %d, and none:\n%s",
					read.name, planned, p.pages(), p.wal(), most, p)
			}
		}
	}
}

func unlessNotFound(err error) error {
	if errors.Is(err, store.ErrRunNotFound) {
		return nil
	}
	return err
}
