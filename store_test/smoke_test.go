package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// TestSmoke runs by every access and way to send statements in both modes of the suite, from an empty database on.
func TestSmoke(t *testing.T) {
	t.Parallel()
	for _, access := range pgtest.Accesses {
		for mode, statements := range map[string]workflow.Statements{
			"Auto": workflow.StatementsAuto, "Single": workflow.StatementsSingle, "InTx": workflow.StatementsInTx,
		} {
			if statements == workflow.StatementsSingle && access.Pooled && access.Driver == "postgres" && access.Params == nil {
				continue // the combination that is documented to be wrong
			}
			t.Run(access.Name+", "+mode, func(t *testing.T) {
				t.Parallel()
				b := on(t, pgtest.Empty(t), access, func(c *workflow.Config) { c.Statements = statements })
				kit.Must(t, b.svc.Init(t.Context()))
				kit.Must(t, b.svc.Init(t.Context()))
				b.application(t)
				b.smoke(t)
			})
		}
	}
}

func (b *bundle) smoke(t *testing.T) {
	t.Run("conversations", func(t *testing.T) { checkAnswers(t, b.svc, 6, 3) })
	t.Run("alone", b.statusAndSteps)
	t.Run("racing creators", b.racingCreators)
	t.Run("racing results", b.racingResults)
	t.Run("waiting writer", b.waitingWriter)
	t.Run("lock", func(t *testing.T) {
		id := b.newRun(t)
		kit.Exec(t, b.side, `INSERT INTO app (name) VALUES ($1)`, id)
		for _, err := range kit.Together(6, func(int) error { return increment(t.Context(), b.svc, id) }) {
			kit.Must(t, err)
		}
		b.counted(t, id, 6)
		kit.WantIs(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
			kit.Must(t, state.SetStepResult(ctx, id, "s", 1))
			return errOfFn
		}), errOfFn)
		if b.hasStep(t, id) {
			t.Error("the step was written")
		}
	})
	for _, isolation := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		id := fmt.Sprint(isolation)
		t.Run("caller's transaction, "+id, func(t *testing.T) {
			tx := kit.Begin(t, b.db, isolation)
			b.withoutOthers(t, tx, id)
			kit.Exec(t, tx, `INSERT INTO app (name) VALUES ('beside')`)
			kit.Must(t, tx.Rollback())
			_, err := b.svc.GetRun(t.Context(), id)
			kit.WantIs(t, err, workflow.ErrRunNotFound)
			if b.appHas(t, "beside") {
				t.Error("the application's row is there")
			}
		})
	}
	t.Run("bounded wait", func(t *testing.T) {
		id := b.newRun(t)
		b.holdRow(t, id)
		svc := b.service(t, b.db, lockTimeout(short))
		tx := kit.Begin(t, b.db)
		kit.WantIs(t, svc.In(tx).SetStepResult(t.Context(), id, "s", 1), workflow.ErrLockTimeout)
		kit.Must(t, svc.In(tx).SetStepResult(t.Context(), b.newRun(t), "s", 1))
		kit.Must(t, tx.Commit())
	})
}
