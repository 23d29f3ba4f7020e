package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Services with different schemas share a database, a pool and a process, and never see each other's rows.
func TestSchemasAreApart(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := on(t, pgtest.Empty(t), access)
		names := []string{"workflows", "tenant_a", "_b", "tenant_" + strings.Repeat("x", 56)} // the last has 63 bytes
		services := make([]*workflow.Service, len(names))
		for i, name := range names {
			services[i] = b.service(t, b.db, func(c *workflow.Config) { c.Schema, c.LockTimeout = name, short })
			kit.Must(t, services[i].Init(t.Context()))
		}

		// At once, each with the same ids and its own values.
		for i, err := range kit.Together(4*len(names), func(i int) error {
			return liveIn(t.Context(), services[i%len(names)], i%len(names), fmt.Sprintf("run-%d", i/len(names)))
		}) {
			if err != nil {
				t.Errorf("%s: %v", names[i%len(names)], err)
			}
		}
		for i, svc := range services {
			page, err := svc.ListRuns(t.Context(), workflow.RunFilter{})
			kit.Must(t, err)
			if len(page.Runs) != 4 {
				t.Errorf("%s has %d runs, want 4", names[i], len(page.Runs))
			}
			for _, run := range page.Runs {
				if string(run.Input) != fmt.Sprint(i) {
					t.Errorf("%s has the input of %s", names[i], run.Input)
				}
			}
		}

		// A lock in one schema is none in the others; neither is a delete.
		kit.Must(t, services[0].WithRunLock(t.Context(), "run-0", func(ctx context.Context, _ *sql.Tx, _ workflow.State) error {
			for _, other := range services[1:] {
				kit.Must(t, other.WithRunLock(ctx, "run-0", func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
					_, err := state.GetRun(ctx, "run-0")
					return err
				}))
			}
			return nil
		}))
		kit.Must(t, services[0].DeleteRun(t.Context(), "run-0"))
		_, err := services[0].GetRun(t.Context(), "run-0")
		kit.WantIs(t, err, workflow.ErrRunNotFound)

		// One transaction may write to several.
		tx := kit.Begin(t, b.db)
		for i, svc := range services {
			_, err := svc.In(tx).CreateRunWithID(t.Context(), "together", "w", i)
			kit.Must(t, err)
		}
		kit.Must(t, tx.Commit())
		for i, svc := range services {
			run, err := svc.GetRun(t.Context(), "together")
			kit.Must(t, err)
			if string(run.Input) != fmt.Sprint(i) {
				t.Errorf("%s has the input of %s", names[i], run.Input)
			}
		}
		if n := kit.One[int](t, b.side, `SELECT count(*) FROM pg_tables WHERE tablename = 'workflow_runs'`); n != len(names) {
			t.Errorf("%d tables of runs, want %d", n, len(names))
		}
	})
}

// liveIn leads a run through its life and checks that nobody else was in it.
func liveIn(ctx context.Context, svc *workflow.Service, value int, id string) error {
	run, err := svc.CreateRunWithID(ctx, id, "w", value)
	if err != nil || string(run.Input) != fmt.Sprint(value) {
		return fmt.Errorf("created with input %s: %w", run.Input, err)
	}
	if step, err := svc.GetStepState(ctx, id, "s"); err != nil || step.Status != workflow.StepPending {
		return fmt.Errorf("step is %s before it was written: %w", step.Status, err)
	}
	if err := errors.Join(
		svc.SetStepResult(ctx, id, "s", value),
		svc.UpdateRunStatus(ctx, id, workflow.RunCompleted, value, nil),
	); err != nil {
		return err
	}
	step, err := svc.GetStepState(ctx, id, "s")
	if err != nil || string(step.Result) != fmt.Sprint(value) {
		return fmt.Errorf("result %s: %w", step.Result, err)
	}
	return nil
}

// The search path and other settings of the application's sessions change nothing.
func TestSearchPathDoesNotMatter(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		database := pgtest.New(t)
		setDefault(t, database, "search_path", "decoy")
		b := on(t, database, access)
		kit.Exec(t, b.side, `CREATE SCHEMA decoy`)
		kit.Exec(t, b.side, `CREATE TABLE decoy.workflow_runs (id TEXT); CREATE TABLE decoy.workflow_steps (id TEXT)`)
		kit.Exec(t, b.side, `CREATE FUNCTION decoy.jsonb_array_elements_text(jsonb) RETURNS SETOF text LANGUAGE sql AS 'SELECT ''decoy'''`)
		b.statusAndSteps(t)
		tx := kit.Begin(t, b.db)
		b.withoutOthers(t, tx, "x")
		kit.Must(t, tx.Commit())
	})
}
