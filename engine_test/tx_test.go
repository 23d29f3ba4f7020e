package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// office is a database with a default isolation and a table of the application.
type office struct {
	way  way
	pg   *pgtest.Database
	side *sql.DB // always READ COMMITTED
}

var isolations = []string{"read committed", "repeatable read", "serializable"}

// eachIsolation runs a test on databases whose default isolation is the given one, by both drivers.
func eachIsolation(t *testing.T, levels []string, test func(t *testing.T, o *office)) {
	t.Parallel()
	for _, way := range everyWay[:2] {
		for _, level := range levels {
			t.Run(way.name+"/"+level, func(t *testing.T) {
				t.Parallel()
				o := &office{way: way, pg: pgtest.New(t)}
				o.side = o.pg.Open(t, pgtest.PQ)
				kit.Exec(t, o.side, "CREATE TABLE account (name TEXT PRIMARY KEY, cents INT); INSERT INTO account VALUES ('a', 0), ('b', 0)")
				kit.Exec(t, o.side, `DO $$ BEGIN EXECUTE format(
					'ALTER DATABASE %I SET default_transaction_isolation = %L', current_database(), '`+level+`'); END $$`)
				test(t, o)
			})
		}
	}
}

// service returns one whose lease is so long that it hears of nothing by itself.
func (o *office) service(t *testing.T, lease time.Duration) *workflow.Service {
	t.Helper()
	db := o.pg.Open(t, o.way.access)
	svc, err := workflow.New(workflow.Config{
		DB: db, Statements: o.way.statements, Lease: lease, PollInterval: shortPoll, Drain: 100 * time.Millisecond,
	})
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	return svc
}

func (o *office) cents(t *testing.T) map[string]int {
	t.Helper()
	rows, err := o.side.Query("SELECT name, cents FROM account")
	kit.Must(t, err)
	defer rows.Close()
	cents := make(map[string]int)
	for rows.Next() {
		var name string
		var n int
		kit.Must(t, rows.Scan(&name, &n))
		cents[name] = n
	}
	kit.Must(t, rows.Err())
	return cents
}

// A real conflict with another transaction, under the isolation that the application chose for its database: the step's is
// rolled back and f called again, which is no attempt.
func TestTransactionalStepsRunAgainAfterAConflict(t *testing.T) {
	const sum = "SELECT sum(cents) FROM account"
	for name, c := range map[string]struct {
		levels             []string
		read, write, other string
		want               map[string]int
	}{
		"of updates": {
			isolations[1:], sum, "UPDATE account SET cents = cents + 1 WHERE name = 'a'",
			"UPDATE account SET cents = cents + 10 WHERE name = 'a'", map[string]int{"a": 11, "b": 0},
		},
		"of reads and writes": { // each reads what the other writes
			isolations[2:], sum, "UPDATE account SET cents = cents + 1 WHERE name = 'a'",
			"UPDATE account SET cents = cents + 10 + 0 * (" + sum + ") WHERE name = 'b'", map[string]int{"a": 1, "b": 10},
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachIsolation(t, c.levels, func(t *testing.T, o *office) {
				svc := o.service(t, time.Hour)
				other := o.pg.Open(t, pgtest.PGX)
				var calls, attempts atomic.Int32
				w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
					return workflow.DoTx(ctx, "s", func(ctx context.Context, tx *sql.Tx) (n int, err error) {
						attempts.Store(int32(workflow.Attempt(ctx)))
						if err := tx.QueryRowContext(ctx, c.read).Scan(&n); err != nil {
							return 0, err
						}
						if calls.Add(1) == 1 {
							if _, err := other.ExecContext(ctx, c.other); err != nil {
								return 0, err
							}
						}
						_, err = tx.ExecContext(ctx, c.write)
						return n, err
					})
				})
				svc.Register(w)
				kit.Work(t, svc)
				handle, err := w.Start(t.Context(), svc, 1)
				kit.Must(t, err)
				if got, err := handle.Result(kit.Context(t)); err != nil || got != 10 {
					t.Errorf("result %d, %v; want 10, which is what the second call read", got, err)
				}
				if calls.Load() != 2 || attempts.Load() != 1 {
					t.Errorf("%d calls, the last one as attempt %d; want 2 calls as attempt 1", calls.Load(), attempts.Load())
				}
				if diff := cmp.Diff(c.want, o.cents(t)); diff != "" {
					t.Errorf("accounts (-want +got):\n%s", diff)
				}
				step, err := svc.GetStepState(t.Context(), handle.RunID(), "s")
				if err != nil || step.Status != workflow.StepSucceeded || step.Attempts != nil {
					t.Errorf("step: %+v, %v; want one that succeeded at once", step, err)
				}
			})
		})
	}
}

// The run is taken from a process that is in a transactional step and does not know: what it commits is neither the effect
// nor the record, also while the next owner has recorded nothing yet.
func TestTransactionalStepOfALostRun(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(t *testing.T, o *office, runID string) (end func())
		want map[string]int
	}{
		"cancelled": {
			func(t *testing.T, o *office, runID string) func() {
				kit.Must(t, o.service(t, time.Hour).Cancel(t.Context(), runID))
				return func() {}
			},
			map[string]int{"a": 0, "b": 0},
		},
		"taken over": {takenOver, map[string]int{"a": 0, "b": 10}},
	} {
		t.Run(name, func(t *testing.T) {
			eachIsolation(t, isolations, func(t *testing.T, o *office) {
				svc := o.service(t, time.Hour)
				inside, lost := make(chan struct{}, 100), make(chan struct{})
				told := make(chan error, 1)
				w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
					got, err := workflow.DoTx(ctx, "s", func(ctx context.Context, tx *sql.Tx) (int, error) {
						_, err := tx.ExecContext(ctx, "UPDATE account SET cents = cents + 1 WHERE name = 'a'")
						inside <- struct{}{}
						<-lost
						return 1, err
					})
					told <- err
					return got, err
				})
				svc.Register(w)
				kit.Work(t, svc)
				handle, err := w.Start(t.Context(), svc, 1)
				kit.Must(t, err)
				<-inside
				end := c.lose(t, o, handle.RunID())
				before, err := svc.GetRun(t.Context(), handle.RunID())
				kit.Must(t, err)
				close(lost)
				if err := <-told; !errors.Is(err, workflow.ErrRunLost) {
					t.Errorf("the step returned %v, want ErrRunLost", err)
				}
				step, err := svc.GetStepState(t.Context(), handle.RunID(), "s")
				if err != nil || step.Status != workflow.StepPending {
					t.Errorf("step: %s %s, %v; want none", step.Status, step.Result, err)
				}
				after, err := svc.GetRun(t.Context(), handle.RunID())
				kit.Must(t, err)
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("the run changed (-before +after):\n%s", diff)
				}
				end()
				if diff := cmp.Diff(c.want, o.cents(t)); diff != "" {
					t.Errorf("accounts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// takenOver makes a second process take a run over and returns once that is in the step itself; end lets it go on.
func takenOver(t *testing.T, o *office, runID string) (end func()) {
	kit.Exec(t, o.side, "UPDATE workflows.workflow_workers SET expires_at = 1")
	svc := o.service(t, lease)
	inside, goOn := make(chan struct{}, 100), make(chan struct{})
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
		return workflow.DoTx(ctx, "s", func(ctx context.Context, tx *sql.Tx) (int, error) {
			inside <- struct{}{}
			<-goOn
			_, err := tx.ExecContext(ctx, "UPDATE account SET cents = cents + 10 WHERE name = 'b'")
			return 2, err
		})
	})
	svc.Register(w)
	kit.Work(t, svc)
	<-inside
	return func() {
		close(goOn)
		if got, err := w.Handle(svc, runID).Result(kit.Context(t)); err != nil || got != 2 {
			t.Errorf("result %d, %v; want the second process's 2", got, err)
		}
	}
}
