package store_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A Resume that waits for a Cancel of the same family resumes what that has cancelled.
func TestResumeMeetsACancel(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		root := b.ownedRun(t)
		child := b.started(t, st, root, "s", 1)[0].RunID
		b.started(t, st, child, "u", 2)

		cancel := kit.Begin(t, b.db)
		_, err := st.In(cancel).CancelRun(t.Context(), root)
		kit.Must(t, err)
		b.whileItWaits(t, func() error { return st.ResumeRun(t.Context(), root) }, func() { kit.Must(t, cancel.Commit()) })
		b.countsRight(t)
		if n := b.unfinished(t, root); n != 4 {
			t.Errorf("%d runs of the tree are unfinished, want all four", n)
		}
	})
}

// A child ends while the failed step that has started it is opened again: the step does not wait for it.
func TestResumeMeetsTheEndOfAChild(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		root := b.ownedRun(t)
		children := b.started(t, st, root, "s", 2)
		b.failedWith(t, root)

		end := kit.Begin(t, b.db)
		wantOutcomes(t, st.In(end), []store.Write{children[0]}, store.Written)
		b.whileItWaits(t, func() error { return st.ResumeRun(t.Context(), root) }, func() { kit.Must(t, end.Commit()) })
		b.countsRight(t)
		wantOutcomes(t, st, []store.Write{children[1]}, store.Written)
		if got := b.family(t, root); got != "0 waiting, 2 woken" { // once by Resume
			t.Errorf("after the other child's end: %s", got)
		}
	})
}

// A child fails while Resume waits for its parent: it is resumed as well, under locks of its own, and its children that end are not counted.
func TestResumeMeetsAFurtherChild(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		root := b.ownedRun(t)
		child := b.started(t, st, root, "s", 1)[0]
		grandchildren := b.started(t, st, child.RunID, "u", 2)
		b.failedWith(t, root)
		kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET status = 'failed', waiting = NULL WHERE run_id = $1`, child.RunID)

		release := b.holdRow(t, root)
		b.whileItWaits(t, func() error { return st.ResumeRun(t.Context(), root) }, func() {
			child.Status = store.RunFailed
			wantOutcomes(t, st, []store.Write{child}, store.Written)
			end := kit.Begin(t, b.db)
			wantOutcomes(t, st.In(end), []store.Write{grandchildren[0]}, store.Written)
			release()
			kit.Waiters(t, b.side, 1) // for the step that the end of the grandchild has locked
			kit.Must(t, end.Commit())
		})
		b.countsRight(t)
		if n := b.unfinished(t, root); n != 3 {
			t.Errorf("%d runs of the tree are unfinished, want all but the one that completed", n)
		}
	})
}

// In a caller's transaction that sees one snapshot, a child that has ended since is told as what it is.
func TestResumeOnASnapshotMissesNoEnd(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		root := b.ownedRun(t)
		children := b.started(t, st, root, "s", 2)
		b.failedWith(t, root)

		tx, err := b.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		kit.Must(t, err)
		defer tx.Rollback() //nolint:errcheck // it is of no use any more
		kit.One[int](t, tx, `SELECT count(*) FROM workflows.workflow_runs`)
		wantOutcomes(t, st, []store.Write{children[0]}, store.Written)
		if err := st.In(tx).ResumeRun(t.Context(), root); pg.SQLState(err) != "40001" {
			t.Errorf("Resume on a snapshot in which a child is unfinished that has ended: %v", err)
		}
	})
}

// whileItWaits calls f, which has to wait for a lock until release is called.
func (b *bundle) whileItWaits(t *testing.T, f func() error, release func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	kit.Waiters(t, b.side, 1)
	release()
	kit.Must(t, kit.Receive(t, "what waited", done))
}

// In a caller's transaction a stranger who has locked a step is waited for within the bound, after which the transaction is usable.
func TestMovesWaitForAStepWithinTheBound(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		const bound = 200 * time.Millisecond
		st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: bound})
		for name, move := range map[string]func(st *store.Store, id string) error{
			"Resume": func(st *store.Store, id string) error { return st.ResumeRun(t.Context(), id) },
			"Delete": func(st *store.Store, id string) error { return st.DeleteRun(t.Context(), id) },
		} {
			id := b.failedRun(t)
			// As psql would: a lock of the step alone.
			release := b.holdStep(t, id, "s")
			tx := kit.Begin(t, b.db)
			kit.Exec(t, tx, `CREATE TEMPORARY TABLE mine () ON COMMIT DROP`)
			done := make(chan error, 1)
			go func() { done <- move(st.In(tx), id) }()
			if err := kit.Receive(t, name, done); !errors.Is(err, store.ErrLockTimeout) {
				t.Errorf("%s of a run whose step is locked: %v", name, err)
			}
			kit.Exec(t, tx, `SELECT FROM mine`)
			release()
			kit.Must(t, move(st.In(tx), id))
			kit.Must(t, tx.Commit())
		}
	})
}

// A stranger records a failed step as done while Resume waits for its row: it is not attempted again.
func TestResumeMeetsAStepThatHasSucceeded(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.failedRun(t)
		stranger := kit.Begin(t, b.side)
		kit.Exec(t, stranger, `UPDATE workflows.workflow_steps SET status = 'succeeded', result = '1' WHERE run_id = $1`, id)
		b.whileItWaits(t, func() error { return writer(t, b).ResumeRun(t.Context(), id) }, func() { kit.Must(t, stranger.Commit()) })
		if got := kit.One[string](t, b.side, `SELECT status FROM workflows.workflow_steps WHERE run_id = $1`, id); got != "succeeded" {
			t.Errorf("the step is %s", got)
		}
	})
}

// failedRun creates a run that has failed with its only step, s.
func (b *bundle) failedRun(t *testing.T) string {
	t.Helper()
	id := b.newRun(t)
	kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, updated_at, attempts)
		VALUES ($1, 's', 'failed', 'step', 1, 1, '{"count": 1}')`, id)
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'failed', run_at = NULL WHERE id = $1`, id)
	return id
}

// failedWith has a run fail that a worker executes, with the step of its children, which go on.
func (b *bundle) failedWith(t *testing.T, run string) {
	t.Helper()
	kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET status = 'failed', waiting = NULL WHERE run_id = $1`, run)
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'failed', owner = NULL WHERE id = $1`, run)
}
