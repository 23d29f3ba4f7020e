package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// keyed is a run of workflow "w" with the unique key "k".
func keyed(input string) store.NewRun {
	return store.NewRun{ID: uuid.NewString(), Workflow: "w", Input: json.RawMessage(input), Unique: "k"}
}

// While a run with a key is unfinished, another start of its workflow is a handle to it, or a conflict if it has another input.
func TestUniqueKey(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for _, inTx := range []bool{false, true} {
			create := func(run store.NewRun) (store.Run, error) {
				if !inTx {
					return st.CreateRun(t.Context(), run)
				}
				tx := kit.Begin(t, b.db)
				created, err := st.In(tx).CreateRun(t.Context(), run)
				kit.Exec(t, tx, "SELECT 1") // usable, whatever happened
				kit.Must(t, tx.Commit())
				return created, err
			}
			first, err := create(keyed("1"))
			kit.Must(t, err)
			if first.UniqueKey != "k" {
				t.Errorf("created %+v", first)
			}
			for _, status := range []store.RunStatus{store.RunPending, store.RunRunning, store.RunSuspended} {
				kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = $1 WHERE id = $2`, string(status), first.ID)
				if again, err := create(keyed("1.0")); err != nil || again.ID != first.ID {
					t.Errorf("%s, again: %+v, %v", status, again, err)
				}
				_, err = create(keyed("2"))
				kit.WantIs(t, err, store.ErrRunConflict)
			}
			other := keyed("1")
			other.Workflow = "v"
			if elsewhere, err := create(other); err != nil || elsewhere.ID != other.ID {
				t.Errorf("another workflow: %+v, %v", elsewhere, err)
			}
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'completed'`)
			second, err := create(keyed("2"))
			if err != nil || second.ID == first.ID {
				t.Errorf("once it is finished: %+v, %v", second, err)
			}
			kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'completed'`)
		}
	})
}

// Of many that start a run with one key at once, in whatever way, one does, and all get the same one.
func TestUniqueKeyRace(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		for round := range 10 {
			const many = 8
			ids := make([]string, many)
			for _, err := range kit.Together(many, func(i int) (err error) {
				run := store.NewRun{ID: uuid.NewString(), Workflow: "w", Input: json.RawMessage("1"), Unique: fmt.Sprint(round)}
				on := st
				var tx *sql.Tx
				if i%2 == 0 {
					if tx, err = b.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted}); err != nil {
						return err
					}
					on = st.In(tx)
				}
				created, err := on.CreateRun(t.Context(), run)
				ids[i] = created.ID
				if tx != nil {
					err = errors.Join(err, tx.Commit())
				}
				return err
			}) {
				kit.Must(t, err)
			}
			if n := kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_runs WHERE unique_key = $1`, fmt.Sprint(round)); n != 1 {
				t.Fatalf("%d runs with one key", n)
			}
			for _, id := range ids {
				if id != ids[0] {
					t.Fatalf("runs %q", ids)
				}
			}
		}
	})
}

// Somebody's open transaction that creates, ends or resumes a run with the key is not waited for without a bound.
func TestUniqueKeyOfAnOpenTransaction(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for name, hold := range map[string]func(ctx context.Context, st *store.Store, first store.Run) error{
			"creates": func(ctx context.Context, st *store.Store, _ store.Run) error {
				_, err := st.CreateRun(ctx, keyed("1"))
				return err
			},
			"ends": func(ctx context.Context, st *store.Store, first store.Run) error {
				_, err := st.CancelRun(ctx, first.ID)
				return err
			},
			"resumes": func(ctx context.Context, st *store.Store, first store.Run) error { return st.ResumeRun(ctx, first.ID) },
		} {
			t.Run(name, func(t *testing.T) {
				b := setup(t, access)
				st := store.New(b.db, store.Options{Schema: "workflows", Timeout: kit.Patience, LockTimeout: short})
				var first store.Run
				if name != "creates" {
					var err error
					first, err = st.CreateRun(t.Context(), keyed("1"))
					kit.Must(t, err)
				}
				if name == "resumes" {
					_, err := st.CancelRun(t.Context(), first.ID)
					kit.Must(t, err)
				}
				open, other := kit.Begin(t, b.db), kit.Begin(t, b.db)
				kit.Must(t, hold(t.Context(), st.In(open), first))
				_, err := st.In(other).CreateRun(t.Context(), keyed("1"))
				kit.WantIs(t, err, store.ErrLockTimeout)
				kit.Exec(t, other, "SELECT 1")
				kit.Must(t, open.Commit())
				got, err := st.In(other).CreateRun(t.Context(), keyed("1"))
				if err != nil || (got.ID == first.ID) != (name == "resumes") {
					t.Errorf("after the commit: %+v, %v", got, err)
				}
			})
		}
	})
}

// A finished run whose key is another's by now is not resumed, and the caller's transaction goes on, also if the other one comes
// while this waits.
func TestResumeWithATakenKey(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		first, err := st.CreateRun(t.Context(), keyed("1"))
		kit.Must(t, err)
		_, err = st.CancelRun(t.Context(), first.ID)
		kit.Must(t, err)

		// Another one is on its way, and its commit is waited for.
		open, other := kit.Begin(t, b.db), kit.Begin(t, b.db)
		second, err := st.In(open).CreateRun(t.Context(), keyed("2"))
		kit.Must(t, err)
		kit.Exec(t, other, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at) VALUES ('mine', 'w', 'pending', '1', 1, 1)`)
		resumed := kit.Go(t, func() error { return st.In(other).ResumeRun(t.Context(), first.ID) })
		kit.Until(t, "the resume waits", func() bool { return b.waiting(t) == 1 })
		kit.Must(t, open.Commit())
		kit.WantIs(t, kit.Receive(t, "the answer", resumed), store.ErrUniqueTaken)
		kit.Must(t, other.Commit())
		if _, err := st.GetRun(t.Context(), "mine"); err != nil {
			t.Errorf("what the transaction wrote besides: %v", err)
		}
		kit.WantIs(t, st.ResumeRun(t.Context(), first.ID), store.ErrUniqueTaken)
		if run, err := st.GetRun(t.Context(), first.ID); err != nil || run.Status != store.RunCancelled {
			t.Errorf("the first one: %+v, %v", run, err)
		}

		_, err = st.CancelRun(t.Context(), second.ID)
		kit.Must(t, err)
		tx := kit.Begin(t, b.db)
		kit.Must(t, st.In(tx).ResumeRun(t.Context(), first.ID))
		kit.Must(t, tx.Commit())
		kit.WantIs(t, st.ResumeRun(t.Context(), second.ID), store.ErrUniqueTaken)
		var transition *store.TransitionError
		if err := st.ResumeRun(t.Context(), first.ID); !errors.As(err, &transition) {
			t.Errorf("resumed twice: %v", err)
		}
	})
}

// Alone, the writer's start of a run whose key is taken writes nothing.
func TestWriteOfATakenKey(t *testing.T) {
	t.Parallel()
	b := setup(t, pgtest.PQ)
	st := writer(t, b)
	wantOutcomes(t, st, []store.Write{keyed("1")}, store.Written)
	wantOutcomes(t, st, []store.Write{keyed("1")}, store.Locked)
}
