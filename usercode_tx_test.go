package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// on makes the bench's pool and service those of an access.
func (b *bench) on(access pgtest.Access) *bench {
	b.t.Helper()
	b.db = b.pg.Open(b.t, access)
	b.svc = b.service()
	return b
}

// What f must not do with its transaction: it is told so, once, and nothing is written that f did not commit itself.
func TestMisuseOfAStepsTransaction(t *testing.T) {
	t.Parallel()
	insert := func(ctx context.Context, tx *sql.Tx) error {
		_, err := book("s")(ctx, tx)
		return err
	}
	misuses := []struct {
		name    string
		effects int      // at most
		says    []string // one of them
		f       func(context.Context, *sql.Tx) error
	}{
		{"commits", 1, []string{"commit"}, func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(insert(ctx, tx), tx.Commit())
		}},
		{"commits and fails", 1, []string{"commit"}, func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(insert(ctx, tx), tx.Commit(), errors.New("after the commit"))
		}},
		{"rolls back", 0, []string{"roll"}, func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(insert(ctx, tx), tx.Rollback())
		}},
		{"swallows an error", 0, []string{"misused", "swallowed", "did not return"}, func(ctx context.Context, tx *sql.Tx) error {
			err := insert(ctx, tx)
			_, _ = tx.ExecContext(ctx, "INSERT INTO nowhere VALUES (1)")
			return err
		}},
		{"swallows a constraint", 0, []string{"misused", "swallowed", "did not return"}, func(ctx context.Context, tx *sql.Tx) error {
			_, _ = tx.ExecContext(ctx, "SELECT 1 / 0")
			return nil
		}},
		{"leaves rows open", 0, []string{"rows"}, func(ctx context.Context, tx *sql.Tx) error {
			if err := insert(ctx, tx); err != nil {
				return err
			}
			rows, err := tx.QueryContext(ctx, "SELECT n, repeat('x', 1000) FROM generate_series(1, 10000) AS n") //nolint:sqlclosecheck // the misuse
			if err != nil {
				return err
			}
			rows.Next()
			return rows.Err()
		}},
	}
	for _, access := range []pgtest.Access{pgtest.PGX, pgtest.PQ} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t).on(access)
			b.one()
			for _, misuse := range misuses {
				t.Run(misuse.name, func(t *testing.T) {
					var calls atomic.Int32
					handle, _, err := run(b.with(t), misuse.name, func(ctx context.Context, _ int) (int, error) {
						return workflow.DoTx(ctx, "s", func(ctx context.Context, tx *sql.Tx) (int, error) {
							calls.Add(1)
							return 1, misuse.f(ctx, tx)
						}, quickly(3))
					})
					var failed *workflow.Error
					if !errors.As(err, &failed) || failed.Step != "s" {
						t.Fatalf("result %v, want a run that failed in the step", err)
					}
					says := strings.ToLower(failed.Message)
					if !containsAny(says, misuse.says) || !strings.Contains(says, "transaction") {
						t.Errorf("the error does not name the mistake: %v", err)
					}
					// Rows that were left open may look like a connection that is lost, which is worth another attempt.
					if calls.Load() != 1 && misuse.name != "leaves rows open" {
						t.Errorf("f was called %d times, want once: it will do no better the next time", calls.Load())
					}
					if n := len(b.effects(handle.RunID())["s"]); n > misuse.effects {
						t.Errorf("%d effects, want at most %d", n, misuse.effects)
					}
					kit.Until(t, "all connections are back in the pool but the worker's own", func() bool {
						return b.db.Stats().InUse <= 2
					})
				})
			}
			b.stillWorks()
		})
	}
}

func containsAny(text string, words []string) bool {
	for _, word := range words {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
