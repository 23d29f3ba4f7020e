package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A familyRace is what TestFamilyRace has going on at once.
type familyRace struct {
	b      *bundle
	st     *store.Store
	locked atomic.Int64 // rows that were sent again
}

// Families whose children end in mixed batches, and by hand, beside trees that are cancelled, resumed and ended in parts: each parent
// is woken once, every step knows how many of its children are unfinished, and nobody ever waits in a circle.
func TestFamilyRace(t *testing.T) {
	const families, trees = 5, 12
	width := 100
	switch {
	case pgtest.Soak():
		width = 1000
	case pgtest.Full():
		width = 300
	}
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b := readCommitted(t, access)
			r := &familyRace{b: b, st: writer(t, b)}
			var parents []string
			var ends, byHand []*store.End
			for range families {
				parent := b.ownedRun(t)
				parents = append(parents, parent)
				all := b.started(t, r.st, parent, "s", width)
				ends, byHand = append(ends, all[width/10:]...), append(byHand, all[:width/10]...)
			}
			// Two of them wait in place, and write steps meanwhile.
			for _, parent := range parents[2:] {
				wantOutcomes(t, r.st, []store.Write{&store.Park{
					Owned: store.Owned{RunID: parent, Epoch: 1}, For: store.ForChildren, WaitsFor: []string{"step:s"},
				}}, store.Written)
			}
			roots := make([]string, trees)
			for i := range roots {
				roots[i] = b.ownedRun(t)
				children := b.started(t, r.st, roots[i], "s", 5)[:3]
				for _, child := range children {
					ends = append(ends, b.started(t, r.st, child.RunID, "u", 4)...)
				}
				// One has failed, with its step, which is opened again while its children end.
				kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET status = 'failed', waiting = NULL WHERE run_id = $1`, children[0].RunID)
				children[0].Status = store.RunFailed
				wantOutcomes(t, r.st, []store.Write{children[0]}, store.Written)
			}
			for _, end := range byHand {
				kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET owner = NULL WHERE id = $1`, end.RunID)
			}
			rand.Shuffle(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })

			const writers = 4
			jobs := []func(ctx context.Context) error{}
			for i := range writers {
				part := ends[i*len(ends)/writers : (i+1)*len(ends)/writers]
				jobs = append(jobs, func(ctx context.Context) error { return r.write(ctx, part, parents[:2], i) })
			}
			for i := range 2 {
				jobs = append(jobs,
					func(ctx context.Context) error { return r.endByHand(ctx, byHand[i*len(byHand)/2:(i+1)*len(byHand)/2]) },
					func(ctx context.Context) error { return r.cancelTrees(ctx, roots, i) })
			}
			for _, err := range kit.Together(len(jobs), func(i int) error { return jobs[i](t.Context()) }) {
				if err != nil {
					t.Error(err)
				}
			}
			for _, root := range roots {
				_, err := r.st.CancelRun(t.Context(), root)
				kit.Must(t, err)
			}
			t.Logf("%d rows were sent again", r.locked.Load())
			r.check(t, parents)
		})
	}
}

// write ends runs in batches of many sizes, beside steps of parents that wait in place.
func (r *familyRace) write(ctx context.Context, ends []*store.End, inPlace []string, writer int) error {
	for n := 0; len(ends) > 0; n++ {
		size := min(len(ends), 1+rand.IntN(20))
		var rows []store.Write
		for _, end := range ends[:size] {
			rows = append(rows, end)
		}
		ends = ends[size:]
		rows = append(rows, &store.Checkpoint{
			Owned: store.Owned{RunID: inPlace[n%len(inPlace)], Epoch: 1}, Name: fmt.Sprintf("step%d-%d", writer, n), Result: json.RawMessage(`1`),
		})
		for len(rows) > 0 {
			outcomes, err := r.st.Write(ctx, rows)
			if err != nil {
				return err
			}
			again := rows[:0]
			for i, outcome := range outcomes {
				if outcome == store.Locked {
					again = append(again, rows[i])
				}
			}
			r.locked.Add(int64(len(again)))
			rows = again
		}
	}
	return nil
}

// endByHand ends children in every way, alone and in a transaction of the caller's.
func (r *familyRace) endByHand(ctx context.Context, ends []*store.End) error {
	ways := []func(st *store.Store, id string) error{
		func(st *store.Store, id string) error { _, err := st.CancelRun(ctx, id); return err },
		func(st *store.Store, id string) error { return st.UpdateRunStatus(ctx, id, store.RunFailed, nil, nil) },
		func(st *store.Store, id string) error { return st.DeleteRun(ctx, id) },
	}
	for i, end := range ends {
		if err := r.alternate(ctx, i, func(st *store.Store) error { return ways[i%3](st, end.RunID) }); err != nil {
			return err
		}
	}
	return nil
}

// alternate does something in a transaction of the caller's, every other time.
func (r *familyRace) alternate(ctx context.Context, n int, do func(st *store.Store) error) error {
	if n%2 == 1 {
		return do(r.st)
	}
	tx, err := r.b.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(r.st.In(tx)); err != nil {
		return err
	}
	return tx.Commit()
}

// cancelTrees cancels parts of trees and resumes some, then cancels them whole; two do so at once.
func (r *familyRace) cancelTrees(ctx context.Context, roots []string, from int) error {
	for i := range roots {
		root := roots[i]
		steps := []func(st *store.Store) error{
			func(st *store.Store) error {
				_, err := st.CancelRun(ctx, fmt.Sprintf("%s.s.%04d", root, rand.IntN(5)))
				return err
			},
			func(st *store.Store) error { return st.ResumeRun(ctx, fmt.Sprintf("%s.s.%04d", root, rand.IntN(2))) },
			func(st *store.Store) error {
				_, err := st.CancelRun(ctx, fmt.Sprintf("%s.s.%04d.u.%04d", root, rand.IntN(3), rand.IntN(4)))
				return err
			},
			func(st *store.Store) error { _, err := st.CancelRun(ctx, root); return err },
			func(st *store.Store) error { return st.ResumeRun(ctx, root) },
		}
		for n, step := range steps {
			var refused *store.TransitionError // a leaf may have completed, a run may go on already
			if err := r.alternate(ctx, n+from, step); err != nil && !errors.As(err, &refused) {
				return err
			}
		}
	}
	return nil
}

func (r *familyRace) check(t *testing.T, parents []string) {
	t.Helper()
	for i, parent := range parents {
		want := fmt.Sprintf("0 waiting, 1 woken, runnable %t", i >= 2)
		got := kit.One[string](t, r.b.side, `
			SELECT format('%s waiting, %s woken, runnable %s', step.waiting, run.wake_seq, CASE WHEN run_at IS NULL THEN 'false' ELSE 'true' END)
			FROM workflows.workflow_runs AS run
			JOIN workflows.workflow_steps AS step ON step.run_id = run.id AND step.step_name = 's'
			WHERE id = $1`, parent)
		if got != want {
			t.Errorf("a parent: %s, want %s", got, want)
		}
	}
	const unfinished = `FROM workflows.workflow_runs
		WHERE parent_id = run_id AND parent_step = step_name AND status IN ('pending', 'running', 'suspended')`
	if n := kit.One[int](t, r.b.side, `SELECT count(*) FROM workflows.workflow_steps
		WHERE status = 'scheduled' AND waiting IS DISTINCT FROM (SELECT count(*) `+unfinished+`)`); n > 0 {
		t.Errorf("%d steps do not know how many of their children are unfinished", n)
	}
	if n := kit.One[int](t, r.b.side, `SELECT count(*) FROM workflows.workflow_runs
		WHERE parent_id IS NOT NULL AND status NOT IN ('completed', 'failed', 'cancelled')`); n > 0 {
		t.Errorf("%d children are unfinished", n)
	}
	if found, _ := sweep(t, r.st); len(found.Cancelled)+len(found.Woken) > 0 {
		t.Errorf("a sweep found %+v", found)
	}
	kit.Must(t, r.b.db.Close()) // sessions report what they have counted when they end
	kit.Until(t, "the end of the sessions", func() bool {
		return kit.One[int](t, r.b.side, `SELECT count(*) FROM pg_stat_activity 
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`) == 0
	})
	if n := kit.One[int](t, r.b.side, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n > 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// A child is cancelled while its parent is being resumed, which opens the step that waits for it once more: the step counts it.
func TestCancelWhileTheParentIsResumed(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		id := b.newRun(t)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'failed', run_at = NULL WHERE id = $1`, id)
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, updated_at, waiting, child_id)
			VALUES ($1, 's', 'failed', 'call', 1, 1, 0, $1 || '.c')`, id)
		kit.Exec(t, b.side, `
			INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
			VALUES ($1 || '.c', 'w', 'failed', '1', 1, 1, $1, 's')`, id)
		tx := kit.Begin(t, b.db)
		kit.Must(t, st.In(tx).ResumeRun(t.Context(), id))
		done := make(chan error, 1)
		go func() {
			_, err := st.CancelRun(t.Context(), id+".c")
			done <- err
		}()
		kit.Waiters(t, b.side, 1)
		kit.Must(t, tx.Commit())
		kit.Must(t, kit.Receive(t, "the cancel", done))
		if got := b.family(t, id); got != "0 waiting, 2 woken" {
			t.Errorf("got %s, want none that the step waits for, and its run woken by Resume and by the end", got)
		}
	})
}
