package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// The end of a child is one statement, alone and among others, which looks up by their keys the rows that it writes, however full
// the tables are, and whether they were ever analysed or not.
func TestPlanOfAChildEnd(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	parents := []string{b.ownedRun(t), b.ownedRun(t)}
	var ends []*store.End
	for _, parent := range parents {
		ends = append(ends, b.started(t, st, parent, "s", 3)...)
	}
	kit.Exec(t, b.side, full)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, updated_at, waiting)
		SELECT 'parked' || n, 's', 'scheduled', 'call', 1, 1 FROM generate_series(1, 20000) AS n`)
	send := func(rows ...store.Write) string {
		t.Helper()
		counter.Take()
		outcomes, err := st.Write(t.Context(), rows)
		kit.Must(t, err)
		counts, texts := counter.TakeTexts()
		if counts != (counting.Counts{Statements: 1}) || outcomes[0] != store.Written {
			t.Fatalf("%+v for %d ends, %v; want one statement that writes them", counts, len(rows), outcomes)
		}
		return texts[0]
	}
	send(fanOut(b.ownedRun(t), "s", 1000))
	alone, among := send(ends[0]), send(ends[1], ends[3], ends[4])
	last, lasts := ends[2], []string{ends[2].RunID, ends[5].RunID}
	for _, analysed := range []bool{false, true} {
		if analysed {
			kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_steps")
		}
		for name, test := range map[string]struct {
			text  string
			args  []string
			pages int
		}{
			"alone": {alone, []string{last.RunID, "1", "completed", "1", "null", "0", parents[0], "s"}, 60},
			"among others": {among, []string{
				"{" + strings.Join(lasts, ",") + "}", "{1,1}", "{completed,completed}", "{1,2}", "{NULL,NULL}", "{NULL,NULL}",
				"{" + strings.Join(parents, ",") + "}", "{s,s}",
			}, 120},
		} {
			got := least(t, fmt.Sprintf("%s, analysed %t", name, analysed), limit{test.pages, unbounded}, func() spent {
				tx := kit.Begin(t, b.side)
				defer func() { kit.Must(t, tx.Rollback()) }()
				p := explain(t, tx, test.text, test.args...)
				if woken := kit.One[int](t, tx, `SELECT wake_seq FROM workflows.workflow_runs WHERE id = $1`, parents[0]); woken != 1 {
					t.Fatalf("%s: the last end woke its parent %d times", name, woken)
				}
				return spentOn(p)
			})
			if got.pages > test.pages {
				t.Errorf("%s, analysed %t: %d pages, want %d at most:\n%s", name, analysed, got.pages, test.pages, got.plan)
			}
		}
	}
}

// What is done by hand looks up a family by its keys too.
func TestPlansByHand(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	ctx := t.Context()
	kit.Exec(t, b.side, full)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, updated_at, waiting)
		SELECT 'parked' || n, 's', 'scheduled', 'call', 1, 1 FROM generate_series(1, 20000) AS n;
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
		SELECT 'parked' || n || '.s', 'w', 'pending', '1'::jsonb, 1, 1, 'parked' || n, 's' FROM generate_series(1, 20000) AS n`)
	const failed = `
		UPDATE workflows.workflow_runs SET status = 'failed' WHERE id ~ '^parked[78](.s)?$';
		UPDATE workflows.workflow_steps SET status = 'failed', waiting = 0 WHERE run_id ~ '^parked[78]$'`
	kit.Exec(t, b.side, failed)
	texts := map[string]string{
		"update_run_status": statement(t, counter, "update_run_status", func() error {
			return st.UpdateRunStatus(ctx, "parked1.s", store.RunFailed, nil, nil)
		}),
		"delete_run": statement(t, counter, "delete_run", func() error { return st.DeleteRun(ctx, "parked2.s") }),
		"cancel_run": statement(t, counter, "cancel_run", func() error { _, err := st.CancelRun(ctx, "parked3"); return err }),
	}
	for _, name := range []string{"lock_resumed", "lock_calls", "resume_run"} {
		kit.Exec(t, b.side, failed)
		texts[name] = statement(t, counter, name, func() error { return st.ResumeRun(ctx, "parked7") })
	}
	kit.Exec(t, b.side, failed)
	for _, analysed := range []bool{false, true} {
		if analysed {
			kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_steps")
		}
		for name, args := range map[string][]string{
			"update_run_status": {"parked4.s", "failed", "1", "1"}, "delete_run": {"parked5.s"}, "cancel_run": {"parked6"},
			"lock_resumed": {"parked8"}, "lock_calls": {"parked8", "{parked8,parked8.s}"}, "resume_run": {"parked8", "{parked8,parked8.s}"},
		} {
			got := least(t, fmt.Sprintf("%s, analysed %t", name, analysed), limit{150, unbounded}, func() spent {
				return b.spendsOf(t, texts[name], args...)
			})
			// From a cost of 100,000 on the server compiles a plan, which takes longer than the statement.
			if cost := got.plan.number("Total Cost"); got.pages > 150 || cost >= 100000 {
				t.Errorf("%s, analysed %t: %d pages, cost %d; want 150 at most, less than 100000:\n%s", name, analysed, got.pages, cost, got.plan)
			}
		}
	}
}

// What children cost in bytes of WAL: a fan-out of 1,000, one statement, writes hardly more than the bare INSERT of these rows,
// and the end of each child a little more than that of any run.
func TestWALOfChildren(t *testing.T) {
	b := on(t, pgtest.Alone(t), pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, LockTimeout: kit.Patience})
	write := func(rows []store.Write) {
		t.Helper()
		outcomes, err := st.Write(t.Context(), rows)
		kit.Must(t, err)
		for i, outcome := range outcomes {
			if outcome != store.Written {
				t.Fatalf("%T: %v", rows[i], outcome)
			}
		}
	}
	const n, many = 1000, 20
	bare, fan, end, childEnd := math.MaxFloat64, math.MaxFloat64, math.MaxFloat64, math.MaxFloat64
	for range 2 {
		// Each behind all that there is, as most fan-outs are.
		parent := b.ownedRun(t)
		scheduled := fanOut(parent, "s", n)
		fan = min(fan, b.written(t, func() { write([]store.Write{scheduled}) }))
		plain := b.ownedRun(t)
		bare = min(bare, b.written(t, func() {
			kit.Exec(t, b.side, fmt.Sprintf(`
				INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, parent_id, parent_step, depth)
				SELECT '%[1]s.s.' || lpad(n::text, 4, '0'), 'child', 'pending', jsonb_build_object('n', n), 1, 1, 1, '%[1]s', 's', 1
				FROM generate_series(0, %[2]d - 1) AS n`, plain, n))
		}))

		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody', epoch = 1, run_at = NULL
			WHERE parent_id IN ($1, $2)`, parent, plain)
		var children, others []store.Write
		for i, id := range scheduled.Children.IDs {
			one := json.RawMessage(`1`)
			child := store.End{Owned: store.Owned{RunID: id, Epoch: 1}, Status: store.RunCompleted, Output: one}
			other := child
			child.ParentID, child.ParentStep = parent, "s"
			other.RunID = fmt.Sprintf("%s.s.%04d", plain, i)
			children, others = append(children, &child), append(others, &other)
		}
		for i := 0; i < 20*many; i += many { // some split a page
			end = min(end, b.written(t, func() { write(others[i : i+many]) })/many)
			childEnd = min(childEnd, b.written(t, func() { write(children[i : i+many]) })/many)
		}
	}
	t.Logf("bytes of WAL: fan-out of %d %.0f, bare INSERT %.0f; an end among %d %.0f, of a child %.0f", n, fan, bare, many, end, childEnd)
	if fan > 1.1*bare {
		t.Errorf("a fan-out of %d writes %.0f bytes of WAL, more than 1.1 times the %.0f of a bare INSERT", n, fan, bare)
	}
	if childEnd > 1.2*end {
		t.Errorf("the end of a child among %d writes %.0f bytes of WAL, more than 1.2 times the %.0f of any run's", many, childEnd, end)
	}
}
