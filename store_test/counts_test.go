package store_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// An operation and what it costs: alone, and within the caller's transaction, in statements. setUp is not counted.
type operation struct {
	name      string
	setUp     func(ctx context.Context, s workflow.State) error
	call      func(ctx context.Context, s workflow.State) error
	alone, in int
	want      error
}

var operations = []operation{
	{
		name: "CreateRun", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error { _, err := s.CreateRun(ctx, "w", 1); return err },
	},
	{
		name: "CreateRunWithID", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error {
			_, err := s.CreateRunWithID(ctx, "new", "w", 1)
			return err
		},
	},
	{
		name: "GetRun", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error { _, err := s.GetRun(ctx, "x"); return err },
	},
	{
		name: "GetRun, unknown", alone: 1, in: 1, want: workflow.ErrRunNotFound,
		call: func(ctx context.Context, s workflow.State) error { _, err := s.GetRun(ctx, "nobody"); return err },
	},
	{
		name: "ListRuns", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error {
			_, err := s.ListRuns(ctx, workflow.RunFilter{})
			return err
		},
	},
	{
		name: "GetStepState", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error { _, err := s.GetStepState(ctx, "x", "s"); return err },
	},
	{
		name: "ListSteps", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error { _, err := s.ListSteps(ctx, "x"); return err },
	},
	{
		name: "SetStepScheduled", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error { return s.SetStepScheduled(ctx, "x", "s") },
	},
	{
		name: "SetStepResult", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error { return s.SetStepResult(ctx, "x", "s", 1) },
	},
	{
		name: "SetStepError", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error { return s.SetStepError(ctx, "x", "s", errOfFn) },
	},
	{
		name: "SetStepResult, finished run", alone: 1, in: 1, want: workflow.ErrRunFinished,
		setUp: func(ctx context.Context, s workflow.State) error {
			return s.UpdateRunStatus(ctx, "x", workflow.RunCompleted, nil, nil)
		},
		call: func(ctx context.Context, s workflow.State) error { return s.SetStepResult(ctx, "x", "s", 1) },
	},
	{
		name: "UpdateRunStatus", alone: 1, in: 1,
		call: func(ctx context.Context, s workflow.State) error {
			return s.UpdateRunStatus(ctx, "x", workflow.RunCompleted, 1, nil)
		},
	},
	{
		name: "UpdateRunStatus, the same", alone: 1, in: 1,
		setUp: func(ctx context.Context, s workflow.State) error {
			return s.UpdateRunStatus(ctx, "x", workflow.RunCompleted, 1, nil)
		},
		call: func(ctx context.Context, s workflow.State) error {
			return s.UpdateRunStatus(ctx, "x", workflow.RunCompleted, 1, nil)
		},
	},
	{
		name: "DeleteRun", alone: 1, in: 2, // in a transaction first the lock that holds off who creates this run anew
		call: func(ctx context.Context, s workflow.State) error { return s.DeleteRun(ctx, "x") },
	},
	{
		name: "WithRunLock", // the lock, then the row; in a transaction a savepoint around them
		// BEGIN and COMMIT are counted apart.
		alone: 2, in: 4,
		call: func(ctx context.Context, s workflow.State) error {
			return s.WithRunLock(ctx, "x", func(context.Context, *sql.Tx, workflow.State) error { return nil })
		},
	},
}

func TestStatementCounts(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PQBinary, pgtest.PGX} {
		for mode, statements := range map[string]workflow.Statements{
			"Auto": workflow.StatementsAuto, "Single": workflow.StatementsSingle, "InTx": workflow.StatementsInTx,
		} {
			t.Run(access.Name+", "+mode, func(t *testing.T) {
				t.Parallel()
				b, counter := counted(t, access, func(c *workflow.Config) { c.Statements = statements })
				for _, op := range operations {
					t.Run(op.name, func(t *testing.T) { op.alonely(t, b, counter, statements) })
					t.Run(op.name+", in a transaction", func(t *testing.T) { op.within(t, b, counter) })
				}
			})
		}
	}
}

func (op operation) prepare(t *testing.T, b *bundle) {
	t.Helper()
	kit.Exec(t, b.side, `DELETE FROM workflows.workflow_runs`)
	_, err := b.svc.CreateRunWithID(t.Context(), "x", "w", 1)
	kit.Must(t, err)
	if op.setUp != nil {
		kit.Must(t, op.setUp(t.Context(), b.svc.State))
	}
}

func (op operation) alonely(t *testing.T, b *bundle, counter *counting.Counter, mode workflow.Statements) {
	op.prepare(t, b)
	counter.Take()
	kit.WantIs(t, op.call(t.Context(), b.svc.State), op.want)
	got, texts := counter.TakeTexts()

	want := counting.Counts{Statements: op.alone}
	// A wrapped driver is unknown, so Auto is InTx.
	if mode != workflow.StatementsSingle || op.name == "WithRunLock" {
		want.Begins, want.Commits = 1, 1
		if got.Rollbacks == 1 && op.want != nil { // nothing was written
			want.Commits, want.Rollbacks = 0, 1
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s%q", diff, texts)
	}
}

func (op operation) within(t *testing.T, b *bundle, counter *counting.Counter) {
	op.prepare(t, b)
	tx := kit.Begin(t, b.db)
	counter.Take()
	kit.WantIs(t, op.call(t.Context(), b.svc.In(tx)), op.want)
	got, texts := counter.TakeTexts()
	// An unknown run might be one that others have locked, hence the second look of those that write.
	if diff := cmp.Diff(counting.Counts{Statements: op.in}, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s%q", diff, texts)
	}
	kit.Must(t, tx.Commit())
}
