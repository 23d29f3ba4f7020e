package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// A signal is one statement, alone and in a transaction of the caller's, and so is an inbox without children; what is read is read
// in a transaction that may not write. A second one is asked only for a run that is finished and a key.
func TestSignalCounts(t *testing.T) {
	t.Parallel()
	for mode, statements := range map[string]store.Statements{"Single": store.Single, "InTx": store.InTx} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b, counter := counted(t, pgtest.PGX)
			st := store.New(b.db, store.Options{Schema: "workflows", Statements: statements, Timeout: kit.Patience, LockTimeout: kit.Patience, Lease: lease})
			id, finished := b.newRun(t), b.runIn(t, store.RunCompleted)
			b.opened(t, id, "wait", store.SignalStep)
			b.opened(t, id, "call", store.CallStep)
			kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET waiting = 0, child_id = 'child' WHERE step_name = 'call'`)
			sends := func(id, key string) func(*store.Store) error {
				return func(st *store.Store) error { _, err := send(t, st, id, "a", key); return err }
			}
			inbox := func(steps ...string) func(*store.Store) error {
				return func(st *store.Store) error {
					_, err := st.ReadInbox(t.Context(), store.InboxRequest{RunID: id, After: map[string]int64{"a": 0}, Steps: steps})
					return err
				}
			}
			for _, op := range []struct {
				name string
				do   func(*store.Store) error
				want int
			}{
				{"a signal", sends(id, ""), 1},
				{"with a key", sends(id, "k"), 1},
				{"again", sends(id, "k"), 1},
				{"to a finished run", sends(finished, "k"), 2},
				{"an inbox", inbox("wait"), 1},
				{"an inbox with children", inbox("call"), 2},
				{"what came for many", func(st *store.Store) error { _, err := st.WakeSeqs(t.Context(), []string{id, finished}); return err }, 1},
				{"the signals", func(st *store.Store) error { _, err := st.ListSignals(t.Context(), id); return err }, 1},
				{"an answer from outside", func(st *store.Store) error { return st.SetStep(t.Context(), answers(id, "wait", "1")) }, 1},
			} {
				tx := kit.Begin(t, b.db)
				counter.Take()
				if err := op.do(st.In(tx)); err != nil && !errors.Is(err, store.ErrRunFinished) {
					t.Errorf("%s: %v", op.name, err)
				}
				got, texts := counter.TakeTexts()
				if diff := cmp.Diff(counting.Counts{Statements: op.want}, got); diff != "" {
					t.Errorf("%s, in a transaction (-want +got):\n%s%q", op.name, diff, texts)
				}
				kit.Must(t, tx.Rollback())

				counter.Take()
				if err := op.do(st); err != nil && !errors.Is(err, store.ErrRunFinished) {
					t.Errorf("%s: %v", op.name, err)
				}
				got, texts = counter.TakeTexts()
				want := counting.Counts{Statements: op.want}
				if statements == store.InTx {
					want.Begins, want.Commits = op.want, op.want
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s%q", op.name, diff, texts)
				}
			}
		})
	}
}
