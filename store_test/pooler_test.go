package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A pooler in transaction mode gives each transaction another server. Statements of many shapes from more clients than
// it has servers, and every answer is checked: a wrong one comes without an error.
func TestNoWrongAnswerBehindPooler(t *testing.T) {
	t.Parallel()
	clients, rounds := 16, 8
	if pgtest.Full() {
		clients, rounds = 32, 12
	}
	for _, access := range pgtest.Accesses {
		if !access.Pooled {
			continue
		}
		t.Run(access.Name+", pool handed in", func(t *testing.T) {
			t.Parallel()
			database := pgtest.New(t)
			db := database.Open(t, access)
			db.SetMaxIdleConns(clients)
			svc, err := workflow.New(workflow.Config{DB: db}) // as it comes: the default must be safe
			kit.Must(t, err)
			checkAnswers(t, svc, clients, rounds)
		})
		t.Run(access.Name+", own pool", func(t *testing.T) {
			t.Parallel()
			svc, err := workflow.New(workflow.Config{DSN: pgtest.New(t).AccessURL(t, access), Driver: access.Driver})
			kit.Must(t, err)
			t.Cleanup(func() { kit.Must(t, svc.Close()) })
			checkAnswers(t, svc, clients, rounds)
		})
	}
}

func checkAnswers(t *testing.T, svc *workflow.Service, clients, rounds int) {
	t.Helper()
	for i, err := range kit.Together(clients, func(i int) error {
		for n := range rounds {
			if err := conversation(t.Context(), svc, fmt.Sprintf("%d-%d", i, n)); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

// conversation writes what only it knows, and checks each answer against that.
func conversation(ctx context.Context, svc *workflow.Service, id string) error {
	wrong := func(op string, got any, err error) error {
		return fmt.Errorf("%s of run %s: got %+v: %w", op, id, got, err)
	}
	secret := "of " + id

	run, err := svc.CreateRunWithID(ctx, id, "w-"+id, secret)
	if err != nil || run.ID != id || run.Workflow != "w-"+id || !isJSON(run.Input, secret) {
		return wrong("create", run, err)
	}
	if run, err = svc.GetRun(ctx, id); err != nil || run.ID != id || !isJSON(run.Input, secret) {
		return wrong("get", run, err)
	}
	if run, err = svc.GetRun(ctx, "not "+id); !errors.Is(err, workflow.ErrRunNotFound) {
		return wrong("get of another", run, err)
	}
	if step, err := svc.GetStepState(ctx, id, "s"); err != nil || step.Status != workflow.StepPending || step.Name != "s" {
		return wrong("get step", step, err)
	}
	if err := svc.SetStepResult(ctx, id, "s", map[string]string{"id": id}); err != nil {
		return wrong("set result", nil, err)
	}
	if err := svc.SetStepError(ctx, id, "e", &workflow.Error{Message: secret, Code: workflow.Code("c-" + id)}); err != nil {
		return wrong("set error", nil, err)
	}
	step, err := svc.GetStepState(ctx, id, "s")
	if err != nil || step.Status != workflow.StepSucceeded || !isJSON(step.Result, map[string]any{"id": id}) {
		return wrong("get step", step, err)
	}
	if steps, err := svc.ListSteps(ctx, id); err != nil || len(steps) != 2 {
		return wrong("list steps", steps, err)
	}
	if err := svc.SetStepResult(ctx, id, "s", "other"); !errors.Is(err, workflow.ErrStepFinished) {
		return wrong("set other result", nil, err)
	}
	if err := svc.WithRunLock(ctx, id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
		got, err := state.GetRun(ctx, id)
		if err != nil || got.ID != id || got.Status != workflow.RunPending {
			return wrong("locked get", got, err)
		}
		return state.UpdateRunStatus(ctx, id, workflow.RunCompleted, secret, nil)
	}); err != nil {
		return err
	}
	page, err := svc.ListRuns(ctx, workflow.RunFilter{Workflow: "w-" + id})
	if err != nil || len(page.Runs) != 1 || page.Runs[0].ID != id || !isJSON(page.Runs[0].Output, secret) {
		return wrong("list", page, err)
	}
	if err := svc.UpdateRunStatus(ctx, id, workflow.RunCompleted, secret, nil); err != nil {
		return wrong("same status", nil, err)
	}
	if err := svc.DeleteRun(ctx, id); err != nil {
		return wrong("delete", nil, err)
	}
	return nil
}

func isJSON(got json.RawMessage, want any) bool {
	var v any
	return json.Unmarshal(got, &v) == nil && fmt.Sprint(v) == fmt.Sprint(want)
}

// pgx in its default mode prepares statements, which an old pooler loses: an error then says which setting to change.
// A pooler that keeps them gives none.
func TestPgxDefaultModeBehindPooler(t *testing.T) {
	t.Parallel()
	access, old := pgtest.PgxDefaultPooled()
	for name, statements := range map[string]workflow.Statements{"single": workflow.StatementsSingle, "in transactions": workflow.StatementsInTx} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := sql.Open(access.Driver, pgtest.New(t).AccessURL(t, access)) // its first ping would fail already
			kit.Must(t, err)
			t.Cleanup(func() { kit.Must(t, db.Close()) })
			db.SetMaxIdleConns(12)
			svc, err := workflow.New(workflow.Config{DB: db, Statements: statements})
			kit.Must(t, err)

			failures := 0
			for _, err := range kit.Together(12, func(i int) error {
				var errs []error
				for n := range 5 {
					errs = append(errs, conversation(t.Context(), svc, fmt.Sprintf("%d-%d", i, n)))
				}
				return errors.Join(errs...)
			}) {
				if err == nil {
					continue
				}
				failures++
				for line := range strings.SplitSeq(err.Error(), "\n") {
					if !strings.Contains(line, "default_query_exec_mode") {
						t.Errorf("error %q does not name default_query_exec_mode", line)
					}
				}
			}
			if old && failures == 0 {
				t.Error("no failure behind a pooler that loses prepared statements")
			}
			if !old && failures > 0 {
				t.Errorf("%d of 12 clients failed behind a pooler that keeps prepared statements", failures)
			}
		})
	}
}
