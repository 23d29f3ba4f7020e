package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// everything makes every write of the state API, beside a row of the application's, and reads it back.
func (b *bundle) everything(t *testing.T, tx *sql.Tx, id, doomed string) {
	t.Helper()
	ctx, state := t.Context(), b.svc.In(tx)
	kit.Exec(t, tx, `INSERT INTO app (name) VALUES ($1)`, id)
	_, err := state.CreateRunWithID(ctx, id, "w", "in")
	kit.Must(t, err)
	kit.Must(t, state.SetStepScheduled(ctx, id, "scheduled"))
	kit.Must(t, state.SetStepResult(ctx, id, "s", 1))
	kit.Must(t, state.SetStepError(ctx, id, "failed", errors.New("boom")))
	kit.Must(t, state.UpdateRunStatus(ctx, id, workflow.RunRunning, nil, nil))
	kit.Must(t, state.WithRunLock(ctx, id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
		return state.UpdateRunStatus(ctx, id, workflow.RunCompleted, 0, nil)
	}))
	kit.Must(t, state.DeleteRun(ctx, doomed))

	run, err := state.GetRun(ctx, id)
	kit.Must(t, err)
	steps, err := state.ListSteps(ctx, id)
	kit.Must(t, err)
	page, err := state.ListRuns(ctx, workflow.RunFilter{})
	kit.Must(t, err)
	if run.Status != workflow.RunCompleted || len(steps) != 3 || len(page.Runs) != 1 {
		t.Errorf("the transaction sees a %s run, %d steps, %d runs, want completed, 3, 1", run.Status, len(steps), len(page.Runs))
	}
}

func TestInCommitsTogether(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		b.application(t)
		doomed := b.newRun(t)
		tx := kit.Begin(t, b.db)
		b.everything(t, tx, "x", doomed)
		if _, err := b.svc.GetRun(t.Context(), "x"); !errors.Is(err, workflow.ErrRunNotFound) {
			t.Errorf("others see the run before the commit: %v", err)
		}
		kit.Must(t, tx.Commit())

		run, err := b.svc.GetRun(t.Context(), "x")
		kit.Must(t, err)
		if run.Status != workflow.RunCompleted || !b.appHas(t, "x") {
			t.Errorf("run is %s, the application's row is there: %t", run.Status, b.appHas(t, "x"))
		}
		if !b.hasStep(t, "x") {
			t.Error("the step was not written")
		}
		_, err = b.svc.GetRun(t.Context(), doomed)
		kit.WantIs(t, err, workflow.ErrRunNotFound)
	})
}

func TestInRollsBackTogether(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		b.application(t)
		doomed := b.newRun(t)
		tx := kit.Begin(t, b.db)
		b.everything(t, tx, "x", doomed)
		kit.Must(t, tx.Rollback())

		_, err := b.svc.GetRun(t.Context(), "x")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		_, err = b.svc.GetRun(t.Context(), doomed)
		kit.Must(t, err)
		if b.hasStep(t, "x") {
			t.Error("the step was written")
		}
		if b.appHas(t, "x") {
			t.Error("the application's row is there")
		}
	})
}

// An expected outcome is an answer: the transaction goes on after it, and commits.
func TestOutcomesLeaveTransactionUsable(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, lockTimeout(short))
		b.application(t)
		finished, owned, busy, done := b.runIn(t, workflow.RunFailed), b.ownedRun(t), b.newRun(t), b.newRun(t)
		kit.Must(t, b.svc.SetStepResult(t.Context(), done, "s", 1))
		_, err := b.svc.CreateRunWithID(t.Context(), "taken", "w", 1)
		kit.Must(t, err)
		b.holdRow(t, busy)
		creating := kit.Begin(t, b.side)
		_, err = b.svc.In(creating).CreateRunWithID(t.Context(), "in the making", "w", 1)
		kit.Must(t, err)
		deleted := b.newRun(t)
		deleting := kit.Begin(t, b.side)
		kit.Must(t, b.svc.In(deleting).DeleteRun(t.Context(), deleted))

		ctx := t.Context()
		nothing := func(context.Context, *sql.Tx, workflow.State) error { return nil }
		create := func(s workflow.State, id, workflow string, input any) error {
			_, err := s.CreateRunWithID(ctx, id, workflow, input)
			return err
		}
		refused := errors.New("a *TransitionError")
		for name, test := range map[string]struct {
			call func(s workflow.State) error
			want error
		}{
			"get, unknown":        {func(s workflow.State) error { _, err := s.GetRun(ctx, "nobody"); return err }, workflow.ErrRunNotFound},
			"get step, unknown":   {func(s workflow.State) error { _, err := s.GetStepState(ctx, "nobody", "s"); return err }, workflow.ErrRunNotFound},
			"list steps, unknown": {func(s workflow.State) error { _, err := s.ListSteps(ctx, "nobody"); return err }, workflow.ErrRunNotFound},
			"create, exists":      {func(s workflow.State) error { return create(s, "taken", "w", 1) }, nil},
			"create, input":       {func(s workflow.State) error { return create(s, "taken", "w", 2) }, workflow.ErrRunConflict},
			"create, workflow":    {func(s workflow.State) error { return create(s, "taken", "v", 1) }, workflow.ErrRunConflict},
			"create, busy":        {func(s workflow.State) error { return create(s, "in the making", "w", 1) }, workflow.ErrLockTimeout},
			"create, deleting":    {func(s workflow.State) error { return create(s, deleted, "w", 1) }, workflow.ErrLockTimeout},
			"scheduled, unknown":  {func(s workflow.State) error { return s.SetStepScheduled(ctx, "nobody", "s") }, workflow.ErrRunNotFound},
			"scheduled, finished": {func(s workflow.State) error { return s.SetStepScheduled(ctx, finished, "s") }, workflow.ErrRunFinished},
			"scheduled, done":     {func(s workflow.State) error { return s.SetStepScheduled(ctx, done, "s") }, workflow.ErrStepFinished},
			"result, done":        {func(s workflow.State) error { return s.SetStepResult(ctx, done, "s", 2) }, workflow.ErrStepFinished},
			"result, same":        {func(s workflow.State) error { return s.SetStepResult(ctx, done, "s", 1) }, nil},
			"result, owned":       {func(s workflow.State) error { return s.SetStepResult(ctx, owned, "s", 1) }, workflow.ErrRunOwned},
			"result, busy":        {func(s workflow.State) error { return s.SetStepResult(ctx, busy, "s", 1) }, workflow.ErrLockTimeout},
			"error, done":         {func(s workflow.State) error { return s.SetStepError(ctx, done, "s", errOfFn) }, workflow.ErrStepFinished},
			"error, deleting":     {func(s workflow.State) error { return s.SetStepError(ctx, deleted, "s", errOfFn) }, workflow.ErrLockTimeout},
			"status, unknown":     {func(s workflow.State) error { return s.UpdateRunStatus(ctx, "nobody", "failed", 1, nil) }, workflow.ErrRunNotFound},
			"status, finished":    {func(s workflow.State) error { return s.UpdateRunStatus(ctx, finished, "completed", 1, nil) }, refused},
			"status, same":        {func(s workflow.State) error { return s.UpdateRunStatus(ctx, finished, "failed", nil, nil) }, nil},
			"status, owned":       {func(s workflow.State) error { return s.UpdateRunStatus(ctx, owned, "failed", 1, nil) }, workflow.ErrRunOwned},
			"status, busy":        {func(s workflow.State) error { return s.UpdateRunStatus(ctx, busy, "failed", 1, nil) }, workflow.ErrLockTimeout},
			"delete, unknown":     {func(s workflow.State) error { return s.DeleteRun(ctx, "nobody") }, workflow.ErrRunNotFound},
			"delete, owned":       {func(s workflow.State) error { return s.DeleteRun(ctx, owned) }, workflow.ErrRunOwned},
			"delete, busy":        {func(s workflow.State) error { return s.DeleteRun(ctx, busy) }, workflow.ErrLockTimeout},
			"lock, unknown":       {func(s workflow.State) error { return s.WithRunLock(ctx, "nobody", nothing) }, workflow.ErrRunNotFound},
			"lock, busy":          {func(s workflow.State) error { return s.WithRunLock(ctx, busy, nothing) }, workflow.ErrLockTimeout},
			"lock, fn's error": {func(s workflow.State) error {
				return s.WithRunLock(ctx, done, func(context.Context, *sql.Tx, workflow.State) error { return errOfFn })
			}, errOfFn},
			"lock, fn breaks the transaction": {func(s workflow.State) error {
				return s.WithRunLock(ctx, done, func(ctx context.Context, tx *sql.Tx, _ workflow.State) error {
					_, err := tx.ExecContext(ctx, `SELECT 1/0`)
					if kit.SQLState(err) == "22012" {
						return errOfFn
					}
					return err
				})
			}, errOfFn},
			"bad name":      {func(s workflow.State) error { return s.SetStepResult(ctx, done, "a#1", 1) }, workflow.ErrInvalidArgument},
			"bad payload":   {func(s workflow.State) error { return s.SetStepResult(ctx, done, "a", "\x00") }, workflow.ErrInvalidArgument},
			"large payload": {func(s workflow.State) error { return s.SetStepResult(ctx, done, "a", make([]byte, 1<<20)) }, workflow.ErrPayloadTooLarge},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tx := kit.Begin(t, b.db)
				kit.Exec(t, tx, `SET LOCAL lock_timeout = '7s'`) // the application's, not ours to change
				kit.Exec(t, tx, `INSERT INTO app (name) VALUES ($1)`, name+", before")
				answer := kit.Go(t, func() error { return test.call(b.svc.In(tx)) })
				err := kit.Receive(t, "the answer", answer)
				if test.want == refused {
					if as := new(workflow.TransitionError); !errors.As(err, &as) {
						t.Errorf("error = %v, want a *TransitionError", err)
					}
				} else {
					kit.WantIs(t, err, test.want)
				}
				if got := kit.One[string](t, tx, `SHOW lock_timeout`); got != "7s" {
					t.Errorf("the caller's lock_timeout is %s now, want 7s", got)
				}
				kit.Exec(t, tx, `INSERT INTO app (name) VALUES ($1)`, name+", after")
				_, err = b.svc.In(tx).CreateRunWithID(ctx, name, "w", nil)
				kit.Must(t, err)
				kit.Must(t, tx.Commit())
				if !b.appHas(t, name+", before") || !b.appHas(t, name+", after") {
					t.Error("the application's rows are gone")
				}
				_, err = b.svc.GetRun(ctx, name)
				kit.Must(t, err)
			})
		}
	})
}

// Nobody waits without a bound for a run that an open transaction creates.
func TestInCreatorsOfOneRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for name, test := range map[string]struct {
			end  func(*sql.Tx) error
			same any
			want error
		}{
			"commit":           {(*sql.Tx).Commit, 1, nil},
			"commit, conflict": {(*sql.Tx).Commit, 2, workflow.ErrRunConflict},
			"rollback":         {(*sql.Tx).Rollback, 2, nil},
		} {
			t.Run(name, func(t *testing.T) {
				first, second := kit.Begin(t, b.db), kit.Begin(t, b.db)
				_, err := b.svc.In(first).CreateRunWithID(t.Context(), name, "w", 1)
				kit.Must(t, err)
				answer := kit.Go(t, func() error {
					_, err := b.svc.In(second).CreateRunWithID(t.Context(), name, "w", test.same)
					return err
				})
				kit.Waiters(t, b.side, 1)
				kit.Must(t, test.end(first))
				kit.WantIs(t, kit.Receive(t, "the answer", answer), test.want)
				kit.Exec(t, second, `SELECT 1`)
				kit.Must(t, second.Commit())
				_, err = b.svc.GetRun(t.Context(), name)
				kit.Must(t, err)
			})
		}
	})
}

// Two transactions that write the same run take turns: the second waits, and neither is a victim of a deadlock.
func TestInWritersOfOneRunTakeTurns(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		for _, err := range kit.Together(6, func(i int) error {
			for range 5 {
				// Where snapshots last for the transaction, the one who waited would get a 40001.
				tx, err := b.db.BeginTx(context.WithoutCancel(t.Context()), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
				if err != nil {
					return err
				}
				state := b.svc.In(tx)
				err = errors.Join(
					state.SetStepScheduled(t.Context(), id, string(rune('a'+i))), // "only stay as it is"
					state.SetStepError(t.Context(), id, "s", errOfFn),
					state.UpdateRunStatus(t.Context(), id, workflow.RunRunning, nil, nil), // "change"
					tx.Commit())
				if err != nil {
					return err
				}
			}
			return nil
		}) {
			kit.Must(t, err)
		}
	})
}

// A write within the caller's transaction that had to wait goes by what it finds then.
func TestInWritesAfterWaiting(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		b.application(t)
		for name, test := range map[string]struct {
			holder string
			call   func(s workflow.State, id string) error
			want   error
		}{
			"nothing happened": {
				`UPDATE workflows.workflow_runs SET status = status WHERE id = $1`,
				func(s workflow.State, id string) error { return s.SetStepResult(t.Context(), id, "s", 1) }, nil,
			},
			"finished": {
				`UPDATE workflows.workflow_runs SET status = 'completed' WHERE id = $1`,
				func(s workflow.State, id string) error { return s.SetStepResult(t.Context(), id, "s", 1) }, workflow.ErrRunFinished,
			},
			"deleted": {
				`DELETE FROM workflows.workflow_runs WHERE id = $1`,
				func(s workflow.State, id string) error { return s.SetStepResult(t.Context(), id, "s", 1) }, workflow.ErrRunNotFound,
			},
			"status of a claimed one": {
				`UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody' WHERE id = $1`,
				func(s workflow.State, id string) error {
					return s.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, 1, nil)
				}, workflow.ErrRunOwned,
			},
			"delete of a deleted one": {
				`DELETE FROM workflows.workflow_runs WHERE id = $1`,
				func(s workflow.State, id string) error { return s.DeleteRun(t.Context(), id) }, workflow.ErrRunNotFound,
			},
			"lock of a deleted one": {
				`DELETE FROM workflows.workflow_runs WHERE id = $1`,
				func(s workflow.State, id string) error {
					return s.WithRunLock(t.Context(), id, func(context.Context, *sql.Tx, workflow.State) error { return errors.New("called") })
				}, workflow.ErrRunNotFound,
			},
		} {
			t.Run(name, func(t *testing.T) {
				id := b.newRun(t)
				holder, tx := kit.Begin(t, b.side), kit.Begin(t, b.db)
				kit.Exec(t, tx, `SET LOCAL lock_timeout = '7s'`)
				kit.Exec(t, holder, test.holder, id)
				answer := kit.Go(t, func() error { return test.call(b.svc.In(tx), id) })
				kit.Waiters(t, b.side, 1)
				kit.Must(t, holder.Commit())
				kit.WantIs(t, kit.Receive(t, "the answer", answer), test.want)
				if got := kit.One[string](t, tx, `SHOW lock_timeout`); got != "7s" {
					t.Errorf("the caller's lock_timeout is %s now, want 7s", got)
				}
				kit.Exec(t, tx, `INSERT INTO app (name) VALUES ($1)`, id)
				kit.Must(t, tx.Commit())
				if got, want := b.hasStep(t, id), test.want == nil; got != want {
					t.Errorf("step written = %t, want %t", got, want)
				}
			})
		}
	})
}

// A row of the application that refers to a run locks it a little (KEY SHARE): that is no reason to fail a write, and
// none to wait for ever in a delete.
func TestInWithReferencesToTheRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, lockTimeout(short))
		b.application(t)
		kit.Exec(t, b.side, `CREATE TABLE app_orders (run TEXT REFERENCES workflows.workflow_runs (id) ON DELETE CASCADE)`)
		id := b.newRun(t)
		other := kit.Begin(t, b.side)
		kit.Exec(t, other, `INSERT INTO app_orders (run) VALUES ($1)`, id)

		tx := kit.Begin(t, b.db)
		kit.Must(t, b.svc.In(tx).SetStepResult(t.Context(), id, "s", 1))
		kit.Must(t, b.svc.In(tx).UpdateRunStatus(t.Context(), id, workflow.RunCompleted, nil, nil))
		answer := kit.Go(t, func() error { return b.svc.In(tx).DeleteRun(t.Context(), id) })
		select {
		case err := <-answer:
			kit.WantIs(t, err, workflow.ErrLockTimeout)
		case <-time.After(3 * time.Second):
			t.Errorf("DeleteRun waits without a bound, want ErrLockTimeout after %v", short)
			kit.Must(t, other.Rollback())
			kit.Must(t, kit.Receive(t, "the answer", answer))
			return
		}
		kit.Exec(t, tx, `INSERT INTO app (name) VALUES ('after')`)
		kit.Must(t, tx.Commit())
		if !b.hasStep(t, id) {
			t.Error("the step was not written")
		}
		kit.Must(t, other.Commit())
		kit.Must(t, b.svc.DeleteRun(t.Context(), id))
	})
}

// What the caller has not committed yet it can go on with.
func TestInSeesItsOwnWrites(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		tx := kit.Begin(t, b.db)
		state := b.svc.In(tx)
		for range 3 {
			run, err := state.CreateRunWithID(t.Context(), "x", "w", 1)
			kit.Must(t, err)
			if run.Status != workflow.RunPending {
				t.Errorf("status = %s", run.Status)
			}
			_, err = state.CreateRunWithID(t.Context(), "x", "w", 2)
			kit.WantIs(t, err, workflow.ErrRunConflict)
			kit.Must(t, state.SetStepResult(t.Context(), "x", "s", 1))
			kit.Must(t, state.DeleteRun(t.Context(), "x"))
			_, err = state.GetRun(t.Context(), "x")
			kit.WantIs(t, err, workflow.ErrRunNotFound)
		}
		kit.Must(t, tx.Commit())
	})
}
