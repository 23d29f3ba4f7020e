package store_test

import (
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// countsRight fails unless each open step knows how many of its children are unfinished.
func (b *bundle) countsRight(t *testing.T) {
	t.Helper()
	for _, wrong := range kit.Column[string](t, b.side, `
		SELECT format('%s %s waits for %s children, %s are unfinished', run_id, step_name, waiting, unfinished.n)
		FROM workflows.workflow_steps AS step
		CROSS JOIN LATERAL (
		    SELECT count(*) AS n
		    FROM workflows.workflow_runs
		    WHERE parent_id = run_id AND parent_step = step_name AND status IN ('pending', 'running', 'suspended')
		) AS unfinished
		WHERE status = 'scheduled' AND waiting IS DISTINCT FROM unfinished.n`) {
		t.Error(wrong)
	}
}

// A tree is cancelled in a transaction that first has to wait for one of its runs. Meanwhile a part of it is resumed, and a step of
// that part locked by somebody else: no run ends whose step cannot be told.
func TestCancelMeetsALockedStep(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		root := b.ownedRun(t)
		children := b.started(t, st, root, "s", 2)
		child := children[1].RunID
		b.started(t, st, child, "u", 2)
		_, err := st.CancelRun(t.Context(), child)
		kit.Must(t, err)

		release := b.holdRow(t, children[0].RunID) // between the root and the child, so that the stranger is first
		resume := kit.Begin(t, b.db)
		kit.Must(t, st.In(resume).ResumeRun(t.Context(), child))
		stranger := kit.Begin(t, b.side)
		locked := make(chan error, 1)
		go func() {
			_, err := stranger.ExecContext(t.Context(), `SELECT FROM workflows.workflow_steps WHERE run_id = $1 FOR NO KEY UPDATE`, child)
			locked <- err
		}()
		kit.Waiters(t, b.side, 1)
		cancel := kit.Begin(t, b.db)
		cancelled := make(chan error, 1)
		go func() {
			_, err := st.In(cancel).CancelRun(t.Context(), root)
			cancelled <- err
		}()
		kit.Waiters(t, b.side, 2)
		kit.Must(t, resume.Commit())
		kit.Must(t, kit.Receive(t, "the stranger's lock", locked))
		release()
		kit.Waiters(t, b.side, 1) // the cancel, for the step
		kit.Must(t, stranger.Rollback())
		kit.Must(t, kit.Receive(t, "the cancel", cancelled))
		kit.Must(t, cancel.Commit())
		b.countsRight(t)
		if n := b.unfinished(t, root); n > 0 {
			t.Errorf("%d runs of the tree are unfinished, which were resumed while the cancel waited", n)
		}
	})
}

// A sweep cancels no run of a tree that cannot tell its parent, because others have locked that or its step; the next one does.
func TestSweepMeetsALock(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for name, test := range map[string]struct {
			hold func(b *bundle, child, grandchild string) (release func())
			left int // runs that are unfinished
		}{
			"step":   {func(b *bundle, _, grandchild string) func() { return b.holdStep(t, grandchild, "v") }, 2},
			"parent": {func(b *bundle, _, grandchild string) func() { return b.holdRow(t, grandchild) }, 3},
			"above":  {func(b *bundle, child, _ string) func() { return b.holdStep(t, child, "u") }, 1},
		} {
			b := setup(t, access)
			st := writer(t, b)
			root := b.ownedRun(t)
			child := b.started(t, st, root, "s", 1)[0].RunID
			grandchild := b.started(t, st, child, "u", 1)[0].RunID
			b.started(t, st, grandchild, "v", 2)
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'cancelled', owner = NULL, run_at = NULL WHERE id = $1`, root)

			release := test.hold(b, child, grandchild)
			sweep(t, st)
			b.countsRight(t)
			if n := b.unfinished(t, root); n != test.left {
				t.Errorf("%s: %d runs of the tree are unfinished, want %d", name, n, test.left)
			}
			release()
			sweep(t, st)
			b.countsRight(t)
			if n := b.unfinished(t, root); n > 0 {
				t.Errorf("%s: after a second sweep %d runs of the tree are unfinished", name, n)
			}
		}
	})
}

// unfinished counts runs of a tree.
func (b *bundle) unfinished(t *testing.T, root string) int {
	t.Helper()
	return kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_runs
		WHERE starts_with(id, $1) AND status IN ('pending', 'running', 'suspended')`, root)
}
