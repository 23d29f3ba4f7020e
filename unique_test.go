package workflow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// While a run is unfinished there is no second one of its workflow and key: the same input gives a handle to it, another one is a
// conflict, and neither harms a transaction. Once it is finished the key is free.
func TestUnique(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		b.ensure(workflow.Queue{Name: "q"})
		w := workflow.Define("w", func(ctx context.Context, _ map[string]int) (string, error) { return word.Wait(ctx, 0) })
		other := workflow.Define("other", func(_ context.Context, n int) (int, error) { return n, nil })
		b.svc.Register(w, other)
		kit.Work(t, b.svc)
		input := map[string]int{"a": 1, "b": 2}
		start := func(on workflow.Session, in map[string]int, options ...workflow.StartOption) (string, error) {
			handle, err := w.Start(t.Context(), on, in, append(options, workflow.WithUnique("k"))...)
			if err != nil {
				return "", err
			}
			return handle.RunID(), nil
		}
		first, err := start(b.svc, input)
		kit.Must(t, err)
		tx := kit.Begin(t, b.db)
		for _, on := range []workflow.Session{b.svc, b.svc.In(tx)} {
			for range 2 {
				if id, err := start(on, map[string]int{"b": 2, "a": 1}); err != nil || id != first {
					t.Errorf("the same input: run %q, %v; want %q", id, err, first)
				}
			}
			if id, err := start(on, input, workflow.WithQueue("q")); err != nil || id != first {
				t.Errorf("into a queue: run %q, %v; want %q, which keeps its place", id, err, first)
			}
			_, err := start(on, map[string]int{"a": 1})
			kit.WantIs(t, err, workflow.ErrRunConflict)
			if err != nil && !strings.Contains(err.Error(), `"k"`) {
				t.Errorf("%v does not name the key", err)
			}
			_, err = start(on, input, workflow.WithRunID("chosen")) // the handle would be to another run
			kit.WantIs(t, err, workflow.ErrRunConflict)
			if id, err := start(on, input, workflow.WithRunID(first)); err != nil || id != first {
				t.Errorf("the same id and key: run %q, %v; want %q", id, err, first)
			}
			handle, err := other.Start(t.Context(), on, 1, workflow.WithUnique("k")) // the key is one of its workflow
			kit.Must(t, err)
			if handle.RunID() == first {
				t.Error("a handle to a run of another workflow")
			}
			for _, key := range []string{"", strings.Repeat("k", 1025), "k\x00"} {
				_, err := other.Start(t.Context(), on, 1, workflow.WithUnique(key))
				kit.WantIs(t, err, workflow.ErrInvalidArgument)
			}
		}
		kit.One[int](t, tx, "SELECT 1")
		kit.Must(t, tx.Commit())

		kit.Must(t, word.Send(t.Context(), b.svc, first, "done"))
		ends(t, w.Handle(b.svc, first), "done")
		next, err := start(b.svc, map[string]int{"a": 1})
		kit.Must(t, err)
		if next == first {
			t.Error("a handle to the finished run")
		}
		if run := b.get(next); run.UniqueKey != "k" {
			t.Errorf("key %q", run.UniqueKey)
		}
	})
}

// Of many that start a run of one key at once, on the service and in transactions, all get the same run.
func TestUniqueStartersRace(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		b.ensure(workflow.Queue{Name: "q"})
		w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) { return word.Wait(ctx, 0) })
		b.svc.Register(w)
		kit.Work(t, b.svc)
		const starters = 16
		ids := make([]string, starters)
		for i, err := range kit.Together(starters, func(i int) error {
			on, end := workflow.Session(b.svc), func() error { return nil }
			if i%2 == 1 {
				tx, err := b.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
				if err != nil {
					return err
				}
				on, end = b.svc.In(tx), tx.Commit
			}
			options := []workflow.StartOption{workflow.WithUnique("k")}
			if i%4 > 1 {
				options = append(options, workflow.WithQueue("q"))
			}
			handle, err := w.Start(t.Context(), on, 1, options...)
			if err != nil {
				return errors.Join(err, end())
			}
			ids[i] = handle.RunID()
			return end()
		}) {
			if err != nil || ids[i] != ids[0] {
				t.Errorf("starter %d: run %q, %v; want %q", i, ids[i], err, ids[0])
			}
		}
		if n := kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs"); n != 1 {
			t.Errorf("%d runs, want 1", n)
		}
		kit.Must(t, word.Send(t.Context(), b.svc, ids[0], "done"))
		ends(t, w.Handle(b.svc, ids[0]), "done")
	})
}

// A key that was taken in a transaction is taken if and only if that commits.
func TestUniqueInATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define[int, int]("w", nil)
		for _, commit := range []bool{false, true} {
			tx := kit.Begin(t, b.db)
			first, err := w.Start(t.Context(), b.svc.In(tx), 1, workflow.WithUnique("k"))
			kit.Must(t, err)
			if commit {
				kit.Must(t, tx.Commit())
			} else {
				kit.Must(t, tx.Rollback())
			}
			again, err := w.Start(t.Context(), b.svc, 1, workflow.WithUnique("k"))
			kit.Must(t, err)
			if same := first.RunID() == again.RunID(); same != commit {
				t.Errorf("commit %t: the same run %t", commit, same)
			}
			kit.Must(t, again.Cancel(t.Context()))
		}
	})
}

// A run whose key another one has meanwhile is not resumed, which harms no transaction; once that is finished, it is.
func TestResumeOfARunWhoseKeyIsTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) { return word.Wait(ctx, 0) })
		b.svc.Register(w)
		kit.Work(t, b.svc)
		start := func(in int) *workflow.Handle[string] {
			handle, err := w.Start(t.Context(), b.svc, in, workflow.WithUnique("k"))
			kit.Must(t, err)
			return handle
		}
		first := start(1)
		kit.Must(t, first.Cancel(t.Context()))
		next := start(2)
		tx := kit.Begin(t, b.db)
		for _, on := range []workflow.State{b.svc.State, b.svc.In(tx)} {
			err := on.Resume(t.Context(), first.RunID())
			kit.WantIs(t, err, workflow.ErrUniqueTaken)
			if err != nil && (!strings.Contains(err.Error(), first.RunID()) || strings.Count(err.Error(), "workflow:") != 1) {
				t.Errorf("%v, want the run named, and the room once", err)
			}
		}
		kit.One[int](t, tx, "SELECT 1")
		kit.Must(t, tx.Commit())
		if run := b.get(first.RunID()); run.Status != workflow.RunCancelled {
			t.Errorf("it is %s", run.Status)
		}

		kit.Must(t, next.Cancel(t.Context()))
		kit.Must(t, b.svc.Resume(t.Context(), first.RunID()))
		if again := start(1); again.RunID() != first.RunID() {
			t.Error("the resumed run does not have its key")
		}
		kit.Must(t, word.Send(t.Context(), b.svc, first.RunID(), "done"))
		ends(t, first, "done")
	})
}

// A function that must see its input as the database has it does so with a key as well.
func TestUniqueWithAnExactInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("w", func(_ context.Context, in json.RawMessage) (string, error) { return string(in), nil })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, json.RawMessage(`{"b":1e3, "a":1}`), workflow.WithUnique("k"))
	kit.Must(t, err)
	ends(t, handle, `{"a": 1, "b": 1000}`)
}
