package store_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Under a snapshot, a run that changed or came into being after it is a serialization failure, which the caller gets to
// see as such: it is for the caller to begin again.
func TestSerializationFailuresReachTheCaller(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		ctx := t.Context()
		for level, isolation := range map[string]sql.IsolationLevel{
			"repeatable read": sql.LevelRepeatableRead, "serializable": sql.LevelSerializable,
		} {
			for name, test := range map[string]struct {
				meanwhile func(id string) error // committed by others after the snapshot was taken
				call      func(s workflow.State, id string) error
			}{
				"step of a run that changed": {
					func(id string) error {
						return b.svc.UpdateRunStatus(ctx, id, workflow.RunRunning, nil, nil)
					},
					func(s workflow.State, id string) error { return s.SetStepResult(ctx, id, "s", 1) },
				},
				"status of a run that changed": {
					func(id string) error {
						return b.svc.UpdateRunStatus(ctx, id, workflow.RunRunning, nil, nil)
					},
					func(s workflow.State, id string) error {
						return s.UpdateRunStatus(ctx, id, workflow.RunCompleted, 1, nil)
					},
				},
				"delete of a run that changed": {
					func(id string) error {
						return b.svc.UpdateRunStatus(ctx, id, workflow.RunRunning, nil, nil)
					},
					func(s workflow.State, id string) error { return s.DeleteRun(ctx, id) },
				},
				"lock of a run that changed": {
					func(id string) error {
						return b.svc.UpdateRunStatus(ctx, id, workflow.RunRunning, nil, nil)
					},
					func(s workflow.State, id string) error {
						return s.WithRunLock(ctx, id, func(context.Context, *sql.Tx, workflow.State) error { return nil })
					},
				},
				"step that others wrote": {
					func(id string) error { return b.svc.SetStepResult(ctx, id, "s", 2) },
					func(s workflow.State, id string) error { return s.SetStepResult(ctx, id, "s", 1) },
				},
				"run that others created": {
					func(id string) error {
						_, err := b.svc.CreateRunWithID(ctx, id+" new", "w", 1)
						return err
					},
					func(s workflow.State, id string) error {
						_, err := s.CreateRunWithID(ctx, id+" new", "w", 1)
						return err
					},
				},
			} {
				t.Run(level+", "+name, func(t *testing.T) {
					id := b.newRun(t)
					tx := kit.Begin(t, b.db, isolation)
					kit.Exec(t, tx, `SELECT count(*) FROM workflows.workflow_runs`) // the snapshot
					kit.Must(t, test.meanwhile(id))
					if err := test.call(b.svc.In(tx), id); kit.SQLState(err) != "40001" {
						t.Errorf("error = %v, want SQLSTATE 40001", err)
					}
				})
			}
			t.Run(level+", without others", func(t *testing.T) {
				tx := kit.Begin(t, b.db, isolation)
				b.withoutOthers(t, tx, level)
				kit.Must(t, tx.Commit())
				if !b.hasStep(t, level) {
					t.Error("the step was not written")
				}
			})
		}
	})
}

// withoutOthers does in one transaction what no isolation level has a reason to refuse.
func (b *bundle) withoutOthers(t *testing.T, tx *sql.Tx, id string) {
	t.Helper()
	ctx, state := t.Context(), b.svc.In(tx)
	_, err := state.CreateRunWithID(ctx, id, "w", 1)
	kit.Must(t, err)
	_, err = state.CreateRunWithID(ctx, id, "w", 2)
	kit.WantIs(t, err, workflow.ErrRunConflict)
	kit.Must(t, state.SetStepResult(ctx, id, "s", 1))
	kit.WantIs(t, state.SetStepResult(ctx, id, "s", 2), workflow.ErrStepFinished)
	kit.Must(t, state.WithRunLock(ctx, id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
		return state.UpdateRunStatus(ctx, id, workflow.RunCompleted, 1, nil)
	}))
	kit.WantIs(t, state.SetStepResult(ctx, id, "s", 1), workflow.ErrRunFinished)
	kit.WantIs(t, state.DeleteRun(ctx, "nobody"), workflow.ErrRunNotFound)
}

// The application may have chosen another default isolation for its whole database: its promises and ours hold.
func TestDefaultIsolationOfTheApplication(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		for _, level := range []string{"serializable", "repeatable read"} {
			t.Run(level, func(t *testing.T) {
				database := pgtest.New(t)
				setDefault(t, database, "default_transaction_isolation", level)
				b := on(t, database, access)
				if got := kit.One[string](t, b.db, `SHOW transaction_isolation`); got != level {
					t.Fatalf("isolation is %s, want %s", got, level)
				}
				b.application(t)

				t.Run("alone", b.statusAndSteps)
				t.Run("racing creators", b.racingCreators)
				t.Run("racing results", b.racingResults)
				t.Run("waiting writer", b.waitingWriter)
				t.Run("lock", func(t *testing.T) {
					id := b.newRun(t)
					kit.Exec(t, b.side, `INSERT INTO app (name) VALUES ($1)`, id)
					for _, err := range kit.Together(8, func(int) error {
						return increment(t.Context(), b.svc, id)
					}) {
						kit.Must(t, err)
					}
					b.counted(t, id, 8)
					kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(_ context.Context, tx *sql.Tx, _ workflow.State) error {
						if got := kit.One[string](t, tx, `SHOW transaction_isolation`); got != "read committed" {
							t.Errorf("isolation within the lock is %s, want read committed", got)
						}
						return nil
					}))
				})
				t.Run("caller's transaction", func(t *testing.T) {
					tx, err := b.db.BeginTx(context.WithoutCancel(t.Context()), nil)
					kit.Must(t, err)
					b.withoutOthers(t, tx, "x")
					kit.Must(t, tx.Commit())
				})
			})
		}
	})
}

// setDefault sets a parameter of the database for all sessions that begin later.
func setDefault(t *testing.T, database *pgtest.Database, parameter, value string) {
	t.Helper()
	db := database.Open(t, pgtest.PQ)
	name := kit.One[string](t, db, `SELECT current_database()`)
	kit.Exec(t, db, `ALTER DATABASE `+pgx.Identifier{name}.Sanitize()+` SET `+parameter+` = '`+value+`'`)
	kit.Must(t, db.Close())
}

// readCommitted is setup on a database with the usual default. It is for races: where lone statements are SERIALIZABLE nearly each one of
// many is refused, and comes again as after any trouble, but not for ever.
func readCommitted(t *testing.T, access pgtest.Access) *bundle {
	t.Helper()
	database := pgtest.New(t)
	setDefault(t, database, "default_transaction_isolation", "read committed")
	return on(t, database, access)
}

func (b *bundle) statusAndSteps(t *testing.T) {
	id := b.newRun(t)
	kit.Must(t, b.svc.SetStepScheduled(t.Context(), id, "s"))
	kit.Must(t, b.svc.SetStepResult(t.Context(), id, "s", 1))
	kit.WantIs(t, b.svc.SetStepResult(t.Context(), id, "s", 2), workflow.ErrStepFinished)
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, false, nil))
	kit.WantIs(t, b.svc.SetStepResult(t.Context(), id, "s", 1), workflow.ErrRunFinished)
	run, err := b.svc.GetRun(t.Context(), id)
	kit.Must(t, err)
	wantJSON(t, "output", run.Output, "false")
	page, err := b.svc.ListRuns(t.Context(), workflow.RunFilter{})
	kit.Must(t, err)
	if len(page.Runs) == 0 {
		t.Error("no runs are listed")
	}
	kit.Must(t, b.svc.DeleteRun(t.Context(), id))
}

func (b *bundle) racingCreators(t *testing.T) {
	for _, err := range kit.Together(12, func(int) error {
		_, err := b.svc.CreateRunWithID(t.Context(), "race", "w", 1)
		return err
	}) {
		kit.Must(t, err)
	}
}

func (b *bundle) racingResults(t *testing.T) {
	id := b.newRun(t)
	won := 0
	for _, err := range kit.Together(12, func(i int) error { return b.svc.SetStepResult(t.Context(), id, "s", i) }) {
		if err == nil {
			won++
			continue
		}
		kit.WantIs(t, err, workflow.ErrStepFinished)
	}
	if won != 1 {
		t.Errorf("%d results won, want 1", won)
	}
}

func (b *bundle) waitingWriter(t *testing.T) {
	id := b.newRun(t)
	holder := kit.Begin(t, b.side)
	kit.Exec(t, holder, `UPDATE workflows.workflow_runs SET status = 'cancelled' WHERE id = $1`, id)
	answer := kit.Go(t, func() error { return b.svc.SetStepResult(t.Context(), id, "s", 1) })
	kit.Waiters(t, b.side, 1)
	kit.Must(t, holder.Commit())
	kit.WantIs(t, kit.Receive(t, "the answer", answer), workflow.ErrRunFinished)
}

// A lone statement in a transaction of its own asks for READ COMMITTED, so that having waited is no reason to begin again.
func TestLoneStatementsAskForReadCommitted(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b, counter := counted(t, access, func(c *workflow.Config) { c.Statements = workflow.StatementsInTx })
			setDefault(t, b.Database, "default_transaction_isolation", "serializable")
			id := b.newRun(t)
			holder := kit.Begin(t, b.side)
			kit.Exec(t, holder, `UPDATE workflows.workflow_runs SET status = 'running' WHERE id = $1`, id)
			counter.Take()
			answer := kit.Go(t, func() error { return b.svc.SetStepResult(t.Context(), id, "s", 1) })
			kit.Waiters(t, b.side, 1)
			kit.Must(t, holder.Commit())
			kit.Must(t, kit.Receive(t, "the answer", answer))
			if diff := cmp.Diff(counting.Counts{Begins: 1, Statements: 1, Commits: 1}, counter.Take()); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}
