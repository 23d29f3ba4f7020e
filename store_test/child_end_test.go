package store_test

import (
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// holdStep locks a step's row from another session until release is called or the test ends.
func (b *bundle) holdStep(t *testing.T, run, step string) (release func()) {
	t.Helper()
	tx := kit.Begin(t, b.side)
	kit.Exec(t, tx, `SELECT FROM workflows.workflow_steps WHERE run_id = $1 AND step_name = $2 FOR UPDATE`, run, step)
	return func() { kit.Must(t, tx.Rollback()) }
}

// waiting of a step, and the parent's wake_seq.
func (b *bundle) family(t *testing.T, run string) string {
	t.Helper()
	return kit.One[string](t, b.side, `
		SELECT format('%s waiting, %s woken', (SELECT waiting FROM workflows.workflow_steps WHERE run_id = $1), wake_seq)
		FROM workflows.workflow_runs WHERE id = $1`, run)
}

// A child whose step is locked by a stranger does not end, nor does the last one of a parent that is; those of other families do, in
// the same statement, and nobody waits.
func TestChildEndLocked(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		stepLocked, runLocked, free := b.ownedRun(t), b.ownedRun(t), b.ownedRun(t)
		ends := map[string][]*store.End{}
		for _, run := range []string{stepLocked, runLocked, free} {
			ends[run] = b.started(t, st, run, "s", 2)
		}
		releases := []func(){b.holdStep(t, stepLocked, "s"), b.holdRow(t, runLocked)}
		want := func(run, stands string) {
			t.Helper()
			if got := b.family(t, run); got != stands {
				t.Errorf("got %s, want %s", got, stands)
			}
		}
		// A parent is not needed before its last child.
		wantOutcomes(t, st, []store.Write{ends[stepLocked][0], ends[runLocked][0], ends[free][0]}, store.Locked, store.Written, store.Written)
		wantOutcomes(t, st, []store.Write{ends[stepLocked][0]}, store.Locked)
		wantOutcomes(t, st, []store.Write{ends[stepLocked][1], ends[runLocked][1], ends[free][1]}, store.Locked, store.Locked, store.Written)
		wantOutcomes(t, st, []store.Write{ends[runLocked][1]}, store.Locked)
		want(stepLocked, "2 waiting, 0 woken")
		want(runLocked, "1 waiting, 0 woken")
		want(free, "0 waiting, 1 woken")
		for _, release := range releases {
			release()
		}
		wantOutcomes(t, st, []store.Write{ends[stepLocked][0], ends[stepLocked][1], ends[runLocked][1]},
			store.Written, store.Written, store.Written)
		want(stepLocked, "0 waiting, 1 woken")
		want(runLocked, "0 waiting, 1 woken")
	})
}

// In one statement with its parent's park or end, a child's end comes after it, and is sent again.
func TestChildEndBesideItsParent(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		of := func(run string) store.Owned { return store.Owned{RunID: run, Epoch: 1} }
		result := []byte(`1`)
		for name, test := range map[string]struct {
			row   func(run string) store.Write
			first store.Outcome // of the child's end
			after string
		}{
			"park": {
				func(run string) store.Write {
					return &store.Park{Owned: of(run), For: store.ForChildren, WaitsFor: []string{"step:s"}}
				}, store.Locked, "0 waiting, 1 woken",
			},
			"end": {func(run string) store.Write { return &store.End{Owned: of(run), Status: store.RunFailed} }, store.Locked, "0 waiting, 0 woken"},
			"take": {func(run string) store.Write {
				return &store.Take{Owned: of(run), Name: "s", Kind: store.CallStep, Result: result}
			}, store.Locked, "1 waiting, 0 woken"},
			"checkpoint": {
				func(run string) store.Write { return &store.Checkpoint{Owned: of(run), Name: "other", Result: result} },
				store.Written, "0 waiting, 1 woken",
			},
			"fan-out": {func(run string) store.Write { return fanOut(run, "t", 3) }, store.Written, "0 waiting, 1 woken"},
		} {
			parent := b.ownedRun(t)
			end := b.started(t, st, parent, "s", 1)[0]
			for _, rows := range [][]store.Write{{end, test.row(parent)}} {
				wantOutcomes(t, st, rows, test.first, store.Written)
			}
			if test.first == store.Locked {
				wantOutcomes(t, st, []store.Write{end}, store.Written)
			}
			got := kit.One[string](t, b.side, `SELECT format('%s waiting, %s woken', (SELECT waiting FROM workflows.workflow_steps WHERE run_id = $1
					AND step_name = 's'), wake_seq) FROM workflows.workflow_runs WHERE id = $1`, parent)
			if got != test.after {
				t.Errorf("%s: %s, want %s", name, got, test.after)
			}
		}

		// Three generations: a child that ends in one statement with its own child.
		grandparent := b.ownedRun(t)
		parent := b.started(t, st, grandparent, "s", 1)[0]
		grandchild := b.started(t, st, parent.RunID, "s", 1)[0]
		wantOutcomes(t, st, []store.Write{grandchild, parent}, store.Locked, store.Written)
		wantOutcomes(t, st, []store.Write{grandchild}, store.Written)
		if got := b.family(t, grandparent) + ", " + b.family(t, parent.RunID); got != "0 waiting, 1 woken, 0 waiting, 0 woken" {
			t.Errorf("three generations: %s", got)
		}
	})
}

// Two steps of one parent whose last children end in one statement wake it once, for whichever it waits.
func TestChildEndOfTwoSteps(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for _, waitsFor := range []string{"step:s", "step:t"} {
			parent := b.ownedRun(t)
			s, u := b.started(t, st, parent, "s", 1)[0], b.started(t, st, parent, "t", 1)[0]
			wantOutcomes(t, st, []store.Write{&store.Park{
				Owned: store.Owned{RunID: parent, Epoch: 1}, For: store.ForChildren, WaitsFor: []string{waitsFor},
			}}, store.Written)
			wantOutcomes(t, st, []store.Write{s, u}, store.Written, store.Written)
			got := kit.One[string](t, b.side, `SELECT format('%s %s', wake_seq, run_at IS NOT NULL)
				FROM workflows.workflow_runs WHERE id = $1`, parent)
			if got != "1 t" {
				t.Errorf("parked on %s: %s, want woken once and runnable", waitsFor, got)
			}
		}
	})
}

// In a caller's transaction, an end by hand waits for the child, its parent and the step that waits for it, each within the bound;
// after that the transaction goes on. Nothing was written, and nothing stays locked.
func TestFamilyLockTimeout(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, lockTimeout(short))
		b.application(t)
		st := writer(t, b)
		ctx := t.Context()
		calls := map[string]func(s workflow.State, id string) error{
			"cancel": func(s workflow.State, id string) error { return s.Cancel(ctx, id) },
			"status": func(s workflow.State, id string) error {
				return s.UpdateRunStatus(ctx, id, workflow.RunFailed, nil, nil)
			},
			"delete": func(s workflow.State, id string) error { return s.DeleteRun(ctx, id) },
			"resume": func(s workflow.State, id string) error { return s.Resume(ctx, id) },
		}
		for what, hold := range map[string]func(parent, child string) func(){
			"the parent's row": func(parent, _ string) func() { return b.holdRow(t, parent) },
			"the step's row":   func(parent, _ string) func() { return b.holdStep(t, parent, "s") },
			"the child's row":  func(_, child string) func() { return b.holdRow(t, child) },
		} {
			for name, call := range calls {
				t.Run(name+", "+what, func(t *testing.T) {
					parent := b.ownedRun(t)
					child := b.started(t, st, parent, "s", 1)[0].RunID
					status := "pending"
					if name == "resume" {
						status = "failed"
						kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET waiting = 0 WHERE run_id = $1`, parent)
					}
					kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = $2, owner = NULL WHERE id = $1`, child, status)
					stands := b.family(t, parent)
					release := hold(parent, child)
					tx := kit.Begin(t, b.db)
					kit.WantIs(t, kit.Receive(t, "answer", kit.Go(t, func() error { return call(b.svc.In(tx), child) })), workflow.ErrLockTimeout)
					kit.Exec(t, tx, `INSERT INTO app (name) VALUES ($1)`, name+what)
					release()
					// In another transaction nothing is in the way now.
					other := kit.Begin(t, b.side)
					kit.Exec(t, other, `SELECT FROM workflows.workflow_runs WHERE id IN ($1, $2) FOR UPDATE NOWAIT`, parent, child)
					kit.Must(t, other.Rollback())
					if got := b.family(t, parent); got != stands {
						t.Errorf("after a time-out: %s, want %s", got, stands)
					}
					kit.Must(t, call(b.svc.In(tx), child))
					kit.Must(t, tx.Commit())
					if got := b.family(t, parent); got == stands || !b.appHas(t, name+what) {
						t.Errorf("after the call: %s", got)
					}
				})
			}
		}
	})
}
