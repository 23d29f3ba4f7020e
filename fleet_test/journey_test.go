package fleet_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow"
)

// A scribe writes the effects of steps, through db or the step's transaction.
type scribe struct {
	db        *sql.DB
	execution string
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// arrive notes that a workflow's function was called.
func arrive(ctx context.Context, db *sql.DB) (scribe, error) {
	s := scribe{db: db, execution: uuid.NewString()}
	var err error
	for range 10 { // under SERIALIZABLE it may be refused
		_, err = db.ExecContext(ctx, "INSERT INTO executions (run_id, execution) VALUES ($1::text, $2::text)", workflow.RunID(ctx), s.execution)
		if err == nil {
			break
		}
	}
	return s, pass(ctx, err)
}

func (s scribe) effect(ctx context.Context, on execer, step, kind string) error {
	_, err := on.ExecContext(ctx, `
		INSERT INTO effects (run_id, step, attempt, execution, kind, recorded)
		SELECT $1::text, $2::text, $3::int, $4::text, $5::text, EXISTS (
			SELECT FROM workflows.workflow_steps WHERE run_id = $1::text AND step_name = $2::text AND status = 'succeeded')`,
		workflow.RunID(ctx), step, workflow.Attempt(ctx), s.execution, kind)
	return err
}

var errFlaky = errors.New("not the first time")

// plain is a step with an effect of its own, which fails in its first attempts.
func (s scribe) plain(ctx context.Context, prefix, name string, n, failures int, o ...workflow.StepOption) (int, error) {
	return workflow.Do(ctx, name, func(ctx context.Context) (int, error) {
		if err := s.effect(ctx, s.db, prefix+name, "plain"); err != nil {
			return 0, err
		}
		select { // it has taken effect, and is not done yet
		case <-time.After(rand.N(20 * time.Millisecond)):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if workflow.Attempt(ctx) <= failures {
			return 0, errFlaky
		}
		return n, nil
	}, o...)
}

// tx is a step whose effect is in its transaction.
func (s scribe) tx(ctx context.Context, prefix, name string, n, failures int, o ...workflow.StepOption) (int, error) {
	return workflow.DoTx(ctx, name, func(ctx context.Context, tx *sql.Tx) (int, error) {
		if err := s.effect(ctx, tx, prefix+name, "tx"); err != nil {
			return 0, err
		}
		if workflow.Attempt(ctx) <= failures {
			return 0, errFlaky
		}
		return n, nil
	}, o...)
}

// Steps are attempted often enough that infrastructure, and not the step, would have to fail for hours.
func retry(first time.Duration) workflow.StepOption {
	return workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 50, FirstDelay: first, Factor: 1, Jitter: -1})
}

const (
	soon = 20 * time.Millisecond  // waited for in process
	late = 150 * time.Millisecond // parked for
)

// journey has a step of every kind. Its result tells which steps were done.
func journey(db *sql.DB) *workflow.Workflow[int, int] {
	return workflow.Define("journey", func(ctx context.Context, n int) (int, error) {
		s, err := arrive(ctx, db)
		if err != nil {
			return 0, err
		}
		sum := 0
		for _, step := range []func() (int, error){
			func() (int, error) { return s.plain(ctx, "", "plain", n, 0, retry(soon)) },
			func() (int, error) { return s.tx(ctx, "", "tx", 10, 0, retry(soon)) },
			func() (int, error) { return 0, workflow.Sleep(ctx, "nap", soon) },
			func() (int, error) { return s.plain(ctx, "", "flaky", 100, 1, retry(soon)) },
			func() (int, error) { return s.branches(ctx) },
			func() (int, error) { return 0, workflow.Sleep(ctx, "night", late) },
			func() (int, error) { return s.tx(ctx, "", "flaky tx", 10_000, 1, retry(soon)) },
			func() (int, error) { return s.plain(ctx, "", "slow retry", 100_000, 1, retry(late)) },
		} {
			n, err := step()
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	})
}

// journeyTakes n to the result, in which each step has a digit.
func journeyTakes(n int) int { return n + 10 + 100 + 3*1_000*2 + 10_000 + 100_000 }

func (s scribe) branches(ctx context.Context) (int, error) {
	type outcome struct {
		n   int
		err error
	}
	outcomes := make(chan outcome)
	for i := range 3 {
		go func() {
			key := fmt.Sprint("leg", i)
			ctx := workflow.Branch(ctx, key)
			a, err := s.plain(ctx, key+"/", "walk", 1_000, 0, retry(soon))
			b := 0
			if err == nil {
				b, err = s.tx(ctx, key+"/", "ride", 1_000, 0, retry(soon))
			}
			outcomes <- outcome{a + b, err}
		}()
	}
	sum, failure := 0, error(nil)
	for range 3 {
		o := <-outcomes
		sum += o.n
		if failure == nil || o.err != nil && !errors.Is(o.err, workflow.ErrInterrupted) {
			failure = o.err
		}
	}
	return sum, failure
}

// pass keeps an error outside steps from failing a run that has been lost or drained.
func pass(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}
