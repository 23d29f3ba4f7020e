package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// sweep sweeps all children, and returns what was found and in how many stretches.
func sweep(t *testing.T, st *store.Store) (found store.Stranded, stretches int) {
	t.Helper()
	for {
		one, err := st.FindStranded(t.Context(), found.Next)
		kit.Must(t, err)
		found.Cancelled, found.Woken = append(found.Cancelled, one.Cancelled...), append(found.Woken, one.Woken...)
		found.Next = one.Next
		stretches++
		if one.Next == (store.ChildKey{}) {
			slices.Sort(found.Cancelled)
			slices.Sort(found.Woken)
			return found, stretches
		}
	}
}

// Unfinished children that nobody waits for are cancelled with what they have started; all others are left alone.
func TestSweepOrphans(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		type cancels struct{ awaited, spawned bool }
		parents := map[string]cancels{
			`UPDATE workflows.workflow_runs SET status = 'cancelled', owner = NULL`:                         {true, true},
			`UPDATE workflows.workflow_runs SET status = 'failed', owner = NULL`:                            {true, false},
			`UPDATE workflows.workflow_runs SET status = 'completed', owner = NULL`:                         {true, false},
			`DELETE FROM workflows.workflow_runs`:                                                           {true, false},
			`UPDATE workflows.workflow_runs SET status = 'suspended', suspended_for = 'time', owner = NULL`: {},
			`UPDATE workflows.workflow_runs SET status = 'pending', owner = NULL`:                           {},
			`UPDATE workflows.workflow_runs SET wake_seq = wake_seq`:                                        {},
		}
		var want []string
		for set, cancelled := range parents {
			parent := b.ownedRun(t)
			ends := b.started(t, st, parent, "s", 2)
			wantOutcomes(t, st, []store.Write{ends[1]}, store.Written)
			below := b.started(t, st, ends[0].RunID, "s", 1)[0].RunID
			spawned, left := fanOut(parent, "spawned", 1), fanOut(parent, "left", 1)
			spawned.Children.Awaited, left.Children.Abandoned = false, true
			wantOutcomes(t, st, []store.Write{spawned, left}, store.Written, store.Written)
			kit.Exec(t, b.side, set+` WHERE id = $1`, parent)
			closed := b.ownedRun(t)
			b.started(t, st, closed, "s", 1)
			kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET status = 'failed' WHERE run_id = $1`, closed)
			if !strings.HasPrefix(set, "DELETE") {
				kit.Exec(t, b.side, set+` WHERE id = $1`, closed)
			}
			if cancelled.awaited {
				want = append(want, ends[0].RunID, below)
			}
			if cancelled.spawned {
				want = append(want, spawned.Children.IDs[0])
			}
		}
		slices.Sort(want)
		hold := b.holdRow(t, want[0])
		if got, _ := sweep(t, st); slices.Contains(got.Cancelled, want[0]) {
			t.Error("cancelled a run that others have locked")
		}
		hold()
		sweep(t, st)
		got := strings.Split(kit.One[string](t, b.side, `SELECT string_agg(id, ',') FROM workflows.workflow_runs
			WHERE status = 'cancelled' AND parent_id IS NOT NULL`), ",")
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cancelled (-want +got):\n%s", diff)
		}
		if got, _ := sweep(t, st); len(got.Cancelled)+len(got.Woken) > 0 {
			t.Errorf("found once more: %+v", got)
		}
	})
}

// Parents that wait although all their children have ended, which only a hand in the tables can bring about, are woken once; all
// others are left alone.
func TestSweepWakes(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		const runs, steps = `UPDATE workflows.workflow_runs SET `, `UPDATE workflows.workflow_steps SET `
		parent := func(ended int, sets ...string) string {
			t.Helper()
			id := b.ownedRun(t)
			b.started(t, st, id, "s", 2)
			sets = append([]string{
				runs + `status = 'suspended', owner = NULL, waits_for = '{step:s}' WHERE id = $1`,
			}, sets...)
			for _, set := range sets {
				kit.Exec(t, b.side, set, id)
			}
			kit.Exec(t, b.side, runs+`status = 'completed', owner = NULL WHERE id IN (SELECT id FROM workflows.workflow_runs
				WHERE parent_id = $1 ORDER BY id LIMIT $2)`, id, ended)
			return id
		}
		want := []string{
			parent(2),
			parent(2, steps+`waiting = 1 WHERE run_id = $1`),
			parent(2, steps+`waiting = 0 WHERE run_id = $1`),
			parent(2, runs+`status = 'running', waits_for = NULL WHERE id = $1`),
			parent(2, runs+`run_at = 9000000000000 WHERE id = $1`),
		}
		parent(1)
		parent(0)
		parent(2, steps+`status = 'succeeded' WHERE run_id = $1`)
		parent(2, runs+`status = 'failed' WHERE id = $1`)
		parent(2, steps+`waiting = 0 WHERE run_id = $1`, runs+`run_at = 5 WHERE id = $1`)
		parent(2, steps+`waiting = 0 WHERE run_id = $1`, runs+`waits_for = '{step:other}' WHERE id = $1`)
		parent(2, steps+`waiting = 0 WHERE run_id = $1`, runs+`status = 'running', waits_for = NULL WHERE id = $1`)
		locked := parent(2)
		release := b.holdStep(t, locked, "s")
		slices.Sort(want)
		got, _ := sweep(t, st)
		if diff := cmp.Diff(want, got.Woken); diff != "" {
			t.Errorf("woken (-want +got):\n%s", diff)
		}
		release()
		if got, _ := sweep(t, st); !slices.Equal(got.Woken, []string{locked}) {
			t.Errorf("woken then: %v, want %s", got.Woken, locked)
		}
		if got, _ := sweep(t, st); len(got.Woken)+len(got.Cancelled) > 0 {
			t.Errorf("found once more: %+v", got)
		}
		stands := kit.One[string](t, b.side, `SELECT string_agg(DISTINCT format('%s %s', wake_seq, waiting), ', ')
			FROM workflows.workflow_runs AS run JOIN workflows.workflow_steps AS step ON step.run_id = run.id
			WHERE wake_seq > 0`)
		if stands != "1 0" {
			t.Errorf("the woken are %s, want 1 0", stands)
		}
	})
}

// A parent whose last child has ended since the sweep's transaction began, which is when its time stands still, is not woken again.
func TestParentThatWasWokenSinceTheSweepBegan(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.ownedRun(t)
		end := b.started(t, st, id, "s", 1)[0]
		wantOutcomes(t, st, []store.Write{&store.Park{
			Owned: store.Owned{RunID: id, Epoch: 1}, For: store.ForChildren, WaitsFor: []string{"step:s"},
		}}, store.Written)
		tx := kit.Begin(t, b.db)
		begun := kit.One[int64](t, tx, `SELECT floor(extract(epoch FROM now()) * 1000)`)
		kit.Until(t, "the clock has moved on", func() bool {
			return kit.One[bool](t, b.side, `SELECT extract(epoch FROM clock_timestamp()) * 1000 > $1::bigint + 1`, begun)
		})
		wantOutcomes(t, st, []store.Write{end}, store.Written)
		if found, _ := sweep(t, st.In(tx)); len(found.Woken) > 0 {
			t.Errorf("woken again: %v", found.Woken)
		}
	})
}

// A sweep goes through children a thousand at a time, reads of each what its key leads to, and writes nothing if all is well.
func TestSweepInStretches(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	kit.Exec(t, b.side, full)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, waits_for)
		SELECT 'p' || n, 'w', 'suspended', '1', 1, 1, '{step:s}' FROM generate_series(1, 250) AS n;
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, updated_at, waiting)
		SELECT 'p' || n, 's', 'scheduled', 'call', 1, 5 FROM generate_series(1, 250) AS n;
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
		SELECT 'p' || n % 250 + 1 || '.' || n, 'w', CASE WHEN n % 3 = 0 THEN 'completed' ELSE 'pending' END, '1', 1, 1, 'p' || n % 250 + 1, 's'
		FROM generate_series(1, 2499) AS n`)
	found, stretches := sweep(t, st)
	if stretches != 3 || len(found.Cancelled)+len(found.Woken) > 0 {
		t.Errorf("%d stretches, want 3; found %+v, want nothing", stretches, found)
	}
	text := statement(t, counter, "find_stranded", func() error { _, err := st.FindStranded(t.Context(), store.ChildKey{}); return err })
	for _, analysed := range []bool{false, true} {
		if analysed {
			kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_steps")
		}
		p := least(t, fmt.Sprintf("analysed %t", analysed), limit{pages: 5000}, func() spent { return b.spendsOf(t, text, "", "", "1000") }).plan
		if cost := p.number("Total Cost"); p.pages() > 5000 || p.wal() > 0 || cost >= 100000 {
			t.Errorf("analysed %t: %d pages, %d bytes of WAL, cost %d:\n%s", analysed, p.pages(), p.wal(), cost, p)
		}
	}
}
