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

var errOfFn = errors.New("fn's own error")

// application makes the application's table, in which its rows stand beside ours.
func (b *bundle) application(t *testing.T) {
	t.Helper()
	kit.Exec(t, b.side, `CREATE TABLE app (name TEXT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0)`)
}

func (b *bundle) appHas(t *testing.T, name string) bool {
	t.Helper()
	return kit.One[bool](t, b.side, `SELECT EXISTS (SELECT FROM app WHERE name = $1)`, name)
}

func TestWithRunLockCommits(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		b.application(t)
		id := b.newRun(t)
		called := 0
		kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, tx *sql.Tx, state workflow.State) error {
			called++
			kit.Exec(t, tx, `INSERT INTO app (name) VALUES ($1)`, "row")
			kit.Must(t, state.SetStepResult(ctx, id, "s", 1))
			if step, err := b.svc.GetStepState(t.Context(), id, "s"); err != nil || step.Status != workflow.StepPending {
				t.Errorf("others see %s, %v before the commit", step.Status, err)
			}
			if step, err := state.GetStepState(ctx, id, "s"); err != nil || step.Status != workflow.StepSucceeded {
				t.Errorf("fn sees %s, %v", step.Status, err)
			}
			return nil
		}))
		if !b.hasStep(t, id) {
			t.Error("the step was not written")
		}
		if called != 1 || !b.appHas(t, "row") {
			t.Errorf("fn was called %d times, its row is there: %t", called, b.appHas(t, "row"))
		}
	})
}

func TestWithRunLockRollsBack(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		b.application(t)
		writes := func(ctx context.Context, tx *sql.Tx, state workflow.State, id string) {
			kit.Exec(t, tx, `INSERT INTO app (name) VALUES ($1)`, id)
			kit.Must(t, state.SetStepResult(ctx, id, "s", 1))
			kit.Must(t, state.UpdateRunStatus(ctx, id, workflow.RunCompleted, 1, nil))
		}
		wantUntouched := func(t *testing.T, id string) {
			t.Helper()
			if b.hasStep(t, id) {
				t.Error("the step was written")
			}
			run, err := b.svc.GetRun(t.Context(), id)
			kit.Must(t, err)
			if run.Status != workflow.RunPending || b.appHas(t, id) {
				t.Errorf("run is %s, the application's row is there: %t", run.Status, b.appHas(t, id))
			}
			// Nobody holds the lock any more.
			kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(context.Context, *sql.Tx, workflow.State) error { return nil }))
		}

		t.Run("error", func(t *testing.T) {
			id := b.newRun(t)
			err := b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, tx *sql.Tx, state workflow.State) error {
				writes(ctx, tx, state, id)
				return errOfFn
			})
			if err != errOfFn { // returned as it is
				t.Errorf("error = %v, want fn's as it is", err)
			}
			wantUntouched(t, id)
		})
		t.Run("panic", func(t *testing.T) {
			id := b.newRun(t)
			func() {
				defer func() {
					if got := recover(); got != "fn's panic" {
						t.Errorf("recovered %v, want fn's panic", got)
					}
				}()
				_ = b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, tx *sql.Tx, state workflow.State) error {
					writes(ctx, tx, state, id)
					panic("fn's panic")
				})
				t.Error("the panic did not reach the caller")
			}()
			wantUntouched(t, id)
		})
		t.Run("panic within the caller's transaction", func(t *testing.T) {
			id := b.newRun(t)
			tx := kit.Begin(t, b.db)
			kit.Exec(t, tx, `INSERT INTO app (name) VALUES ('before')`)
			func() {
				defer func() {
					if got := recover(); got != "fn's panic" {
						t.Errorf("recovered %v, want fn's panic", got)
					}
				}()
				_ = b.svc.In(tx).WithRunLock(t.Context(), id, func(ctx context.Context, tx *sql.Tx, state workflow.State) error {
					writes(ctx, tx, state, id)
					panic("fn's panic")
				})
			}()
			kit.Must(t, tx.Commit()) // what the caller wrote before is the caller's
			if !b.appHas(t, "before") {
				t.Error("the caller's row is gone")
			}
			wantUntouched(t, id)
		})
		t.Run("context that ends in fn", func(t *testing.T) {
			id := b.newRun(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := b.svc.WithRunLock(ctx, id, func(ctx context.Context, tx *sql.Tx, state workflow.State) error {
				writes(ctx, tx, state, id)
				cancel()
				return ctx.Err()
			})
			kit.WantIs(t, err, context.Canceled)
			wantUntouched(t, id)
		})
		t.Run("context that ends unseen in fn", func(t *testing.T) {
			id := b.newRun(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := b.svc.WithRunLock(ctx, id, func(ctx context.Context, tx *sql.Tx, state workflow.State) error {
				writes(ctx, tx, state, id)
				cancel()
				return nil
			})
			kit.WantIs(t, err, context.Canceled)
			wantUntouched(t, id)
		})
	})
}

// The lock of a run that fn holds already may be taken again, through either state.
func TestWithRunLockNested(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		type section func(ctx context.Context, bound workflow.State, id string, fn func(context.Context, *sql.Tx, workflow.State) error) error
		for name, again := range map[string]section{
			"bound state": func(ctx context.Context, bound workflow.State, id string, fn func(context.Context, *sql.Tx, workflow.State) error) error {
				return bound.WithRunLock(ctx, id, fn)
			},
			"service": func(ctx context.Context, _ workflow.State, id string, fn func(context.Context, *sql.Tx, workflow.State) error) error {
				return b.svc.WithRunLock(ctx, id, fn)
			},
		} {
			t.Run(name, func(t *testing.T) {
				id := b.newRun(t)
				kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, outer *sql.Tx, state workflow.State) error {
					kit.Must(t, state.SetStepResult(ctx, id, "outer", 1))
					err := again(ctx, state, id, func(ctx context.Context, inner *sql.Tx, state workflow.State) error {
						if inner != outer {
							t.Error("the inner section has another transaction")
						}
						// And a third time.
						return again(ctx, state, id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
							return state.SetStepResult(ctx, id, "inner", 1)
						})
					})
					kit.Must(t, err)
					// The error of an inner section undoes what it wrote, and leaves the lock.
					err = again(ctx, state, id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
						kit.Must(t, state.SetStepResult(ctx, id, "undone", 1))
						return errOfFn
					})
					kit.WantIs(t, err, errOfFn)
					kit.WantIs(t, again(ctx, state, "nobody", nil), workflow.ErrRunNotFound)
					b.wantLocked(t, id)
					return state.SetStepResult(ctx, id, "last", 1)
				}))
				steps, err := b.svc.ListSteps(t.Context(), id)
				kit.Must(t, err)
				names := make(map[string]bool)
				for _, s := range steps {
					names[s.Name] = true
				}
				if len(names) != 3 || !names["outer"] || !names["inner"] || !names["last"] {
					t.Errorf("steps = %v, want outer, inner, last", names)
				}
			})
		}
	})
}

// wantLocked checks that others cannot have the run: not its lock, not its row.
func (b *bundle) wantLocked(t *testing.T, id string) {
	t.Helper()
	other := b.service(t, b.side, lockTimeout(time.Millisecond))
	err := other.WithRunLock(context.WithoutCancel(t.Context()), id, func(context.Context, *sql.Tx, workflow.State) error { return nil })
	kit.WantIs(t, err, workflow.ErrLockTimeout)
	err = b.side.QueryRowContext(t.Context(),
		`SELECT id FROM workflows.workflow_runs WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED`, id).Scan(new(string))
	kit.WantIs(t, err, sql.ErrNoRows)
}

func TestWithRunLockOfSeveralRuns(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		first, second := b.newRun(t), b.newRun(t)
		kit.Must(t, b.svc.WithRunLock(t.Context(), first, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
			return state.WithRunLock(ctx, second, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
				b.wantLocked(t, first)
				b.wantLocked(t, second)
				return state.SetStepResult(ctx, second, "s", 1)
			})
		}))
		if !b.hasStep(t, second) {
			t.Error("the step was not written")
		}
	})
}

func TestWithRunLockUnknownRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		fn := func(context.Context, *sql.Tx, workflow.State) error { t.Error("fn was called"); return nil }
		kit.WantIs(t, b.svc.WithRunLock(t.Context(), "nobody", fn), workflow.ErrRunNotFound)
		kit.WantIs(t, b.svc.WithRunLock(t.Context(), "", fn), workflow.ErrInvalidArgument)
	})
}

// A run that a worker executes may be locked and read; writing to it is refused.
func TestWithRunLockOwned(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.ownedRun(t)
		kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
			kit.WantIs(t, state.SetStepResult(ctx, id, "s", 1), workflow.ErrRunOwned)
			_, err := state.GetRun(ctx, id)
			return err
		}))
	})
}

func TestWithRunLockWaitIsBounded(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, lockTimeout(short))
		fn := func(context.Context, *sql.Tx, workflow.State) error { t.Error("fn was called"); return nil }
		bounded := func(t *testing.T, id string) {
			t.Helper()
			start := time.Now()
			kit.WantIs(t, b.svc.WithRunLock(t.Context(), id, fn), workflow.ErrLockTimeout)
			if waited := time.Since(start); waited < short || waited > kit.Patience/2 {
				t.Errorf("waited %v, want %v", waited, short)
			}
		}

		t.Run("for the lock", func(t *testing.T) {
			id := b.newRun(t)
			kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(context.Context, *sql.Tx, workflow.State) error {
				bounded(t, id)
				return nil
			}))
		})
		t.Run("for the row", func(t *testing.T) {
			id := b.newRun(t)
			defer b.holdRow(t, id)()
			bounded(t, id)
		})
		t.Run("within fn for itself", func(t *testing.T) { // without fn's context nobody knows that it is the same caller
			id := b.newRun(t)
			kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(context.Context, *sql.Tx, workflow.State) error {
				kit.WantIs(t, b.svc.WithRunLock(t.Context(), id, fn), workflow.ErrLockTimeout)
				return nil
			}))
		})
	})
}

func TestWithRunLockWaitEndsWithContext(t *testing.T) {
	eachThatCancels(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		release := b.holdRow(t, id)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		answer := kit.Go(t, func() error {
			return b.svc.WithRunLock(ctx, id, func(context.Context, *sql.Tx, workflow.State) error { return errors.New("called") })
		})
		kit.Waiters(t, b.side, 1)
		cancel()
		kit.WantIs(t, kit.Receive(t, "the answer", answer), context.Canceled)
		release()
		kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(context.Context, *sql.Tx, workflow.State) error { return nil }))
	})
}

// Lock first, then read: fn sees what the holder before it wrote.
func TestWithRunLockReadsWhatItWaitedFor(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		var answer <-chan error
		kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
			answer = kit.Go(t, func() error {
				return b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
					step, err := state.GetStepState(ctx, id, "s")
					if err == nil && step.Status != workflow.StepSucceeded {
						err = errors.New("the step is " + string(step.Status))
					}
					return err
				})
			})
			kit.Waiters(t, b.side, 1)
			return state.SetStepResult(ctx, id, "s", 1)
		}))
		kit.Must(t, kit.Receive(t, "the answer", answer))
	})
}

// The run's row is locked as well, so writes that take no lock wait too.
func TestWithRunLockHoldsOffOtherWrites(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		var answer <-chan error
		kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
			answer = kit.Go(t, func() error { return b.svc.SetStepResult(t.Context(), id, "s", "other") })
			kit.Waiters(t, b.side, 1)
			return state.UpdateRunStatus(ctx, id, workflow.RunCancelled, nil, nil)
		}))
		kit.WantIs(t, kit.Receive(t, "the answer", answer), workflow.ErrRunFinished)
	})
}
