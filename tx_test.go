package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

func book(step string) func(context.Context, *sql.Tx) (string, error) {
	return func(ctx context.Context, tx *sql.Tx) (string, error) {
		_, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES ($1, $2, 'tx')", workflow.RunID(ctx), step)
		return step, err
	}
}

// What a transactional step writes and its record exist together, and only when it succeeds.
func TestDoTx(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	handle, got, err := run(b, "book", func(ctx context.Context, _ int) (string, error) {
		return workflow.DoTx(ctx, "book", func(ctx context.Context, tx *sql.Tx) (string, error) {
			result, err := book("book")(ctx, tx)
			if workflow.Attempt(ctx) < 3 {
				return "", errors.New("after the write")
			}
			return result, err
		}, quickly(5))
	})
	if err != nil || got != "book" {
		t.Fatalf("result %q, %v", got, err)
	}
	if diff := cmp.Diff(map[string][]string{"book": {"tx"}}, b.effects(handle.RunID())); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
	step, err := b.svc.GetStepState(t.Context(), handle.RunID(), "book")
	if err != nil || step.Kind != "tx" || step.Attempts == nil || step.Attempts.Count != 2 {
		t.Errorf("step: %+v, %v", step, err)
	}
}

// A run that is cancelled while its transaction is open has neither the writes nor the record.
func TestDoTxOfACancelledRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inside := make(chan struct{})
	w := workflow.Define("cancelled", func(ctx context.Context, _ int) (string, error) {
		return workflow.DoTx(ctx, "book", func(ctx context.Context, tx *sql.Tx) (string, error) {
			result, err := book("book")(context.WithoutCancel(ctx), tx)
			close(inside)
			<-ctx.Done()
			return result, err // on as if nothing had happened
		})
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-inside
	if err := b.svc.Cancel(t.Context(), handle.RunID()); err != nil {
		t.Fatal(err)
	}
	if _, err := handle.Result(kit.Context(t)); !errors.Is(err, workflow.ErrRunCancelled) {
		t.Errorf("result %v, want ErrRunCancelled", err)
	}
	kit.Until(t, "the worker is idle", func() bool { return inFlight(t, b.svc) == 0 })
	if effects := b.effects(handle.RunID()); len(effects) != 0 {
		t.Errorf("effects %v, want none", effects)
	}
	if steps, err := b.svc.ListSteps(t.Context(), handle.RunID()); err != nil || len(steps) != 0 {
		t.Errorf("steps %v, %v; want none", steps, err)
	}
}

func TestStartTx(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("in tx", func(context.Context, int) (int, error) { return 1, nil })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	for _, commit := range []bool{true, false} {
		tx, err := b.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		handle, err := w.Start(t.Context(), b.svc.In(tx), 0)
		if err != nil {
			t.Fatal(err)
		}
		end, want := tx.Commit, error(nil)
		if !commit {
			end, want = tx.Rollback, workflow.ErrRunNotFound
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if _, err := handle.Result(kit.Context(t)); !errors.Is(err, want) {
			t.Errorf("commit %t: result %v, want %v", commit, err, want)
		}
	}
}
