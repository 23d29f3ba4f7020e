package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// fixture is a database in which runs have ended, wait, are blocked, and are driven by hand.
func fixture(t *testing.T) *pgtest.Database {
	t.Helper()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	const late = 24 * time.Hour
	order := workflow.Define("take-order", takeOrder)
	wait := workflow.Define("wait", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "long", late)
	})
	crash := workflow.Define("crash", func(context.Context, string) (int, error) { panic("so much for\n\x1b[31mthat") })
	pay := workflow.Define("pay", func(ctx context.Context, _ int) (int, error) {
		busy := func(context.Context) (int, error) { return 0, errors.New("try tomorrow") }
		return workflow.Do(ctx, "transfer", busy, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: late, MaxDelay: late}))
	})
	deploy := workflow.Define("deploy", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.Do(ctx, "build", func(context.Context) (int, error) { return 7, nil })
		return 0, errors.Join(err, workflow.Sleep(ctx, "settle", late))
	})
	service := serve(t, db, order, wait, crash, pay, deploy)
	stop := kit.Work(t, service)
	start(t, order, service, 3, "order 10")
	start(t, order, service, 0, "order 11")
	start(t, wait, service, 1, "order 12")
	start(t, crash, service, "\u009b31m "+strings.Repeat("long ", 30), "order 13")
	start(t, pay, service, 1, "order 14")
	start(t, wait, service, 2, "order 15")
	for _, id := range []string{"order 14", "order 15"} {
		kit.Must(t, service.Cancel(t.Context(), id))
	}
	start(t, deploy, service, 1, "order 16")
	stop()

	// Its function changes while it waits.
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET run_at = 1 WHERE id = 'order 16'`)
	changed := workflow.Define("deploy", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "test", func(context.Context) (int, error) { return 1, nil })
	})
	service = serve(t, db, changed)
	for blocked := false; !blocked; { // when it is tried again before the worker has stopped, it is handed back
		stop = kit.Work(t, service)
		rest(t, service, "order 16")
		stop()
		run, err := service.GetRun(t.Context(), "order 16")
		kit.Must(t, err)
		blocked = run.SuspendedFor == workflow.SuspendedBlocked
	}

	byHand(t, service)
	kit.Exec(t, db, `UPDATE workflows.workflow_steps SET started_at = updated_at - 5 WHERE started_at IS NOT NULL`)
	const hundredDays = 8683200000 // and twelve hours, by which ages are told in days
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET blocked_at = blocked_at - $1::bigint`, hundredDays)
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET run_at = run_at - $1::bigint WHERE id = 'order 19'`, hundredDays)
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET run_at = run_at + 3600000 WHERE id = 'order 16'`) // is still to come
	return database
}

// serve returns a service that knows workflows.
func serve(t *testing.T, db *sql.DB, workflows ...workflow.Definition) *workflow.Service {
	t.Helper()
	service, err := workflow.New(workflow.Config{DB: db, Version: "1.4", PollInterval: 20 * time.Millisecond})
	kit.Must(t, err)
	service.Register(workflows...)
	return service
}

// start starts a run and waits until nothing more happens to it.
func start[In, Out any](t *testing.T, w *workflow.Workflow[In, Out], service *workflow.Service, in In, id string) {
	t.Helper()
	_, err := w.Start(t.Context(), service, in, workflow.WithRunID(id))
	kit.Must(t, err)
	rest(t, service, id)
}

// rest waits until nothing more happens to a run, but what time brings.
func rest(t *testing.T, service *workflow.Service, id string) {
	t.Helper()
	kit.Until(t, id+" rests", func() bool {
		run, err := service.GetRun(t.Context(), id)
		kit.Must(t, err)
		return run.Status.Finished() || run.Status == workflow.RunSuspended && run.RunAt.After(run.UpdatedAt)
	})
}

// byHand adds runs that no worker has executed.
func byHand(t *testing.T, service *workflow.Service) {
	t.Helper()
	for _, id := range []string{"order 17", "order 18", "order 19"} {
		_, err := service.CreateRunWithID(t.Context(), id, "by hand", nil)
		kit.Must(t, err)
	}
	// In the order of their names as well, which decides when both are written in one millisecond.
	kit.Must(t, service.SetStepScheduled(t.Context(), "order 17", "pack"))
	kit.Must(t, service.SetStepError(t.Context(), "order 17", "print", errors.New("no ink")))
	kit.Must(t, service.UpdateRunStatus(t.Context(), "order 17", workflow.RunRunning, nil, nil))
	kit.Must(t, service.UpdateRunStatus(t.Context(), "order 18", workflow.RunRunning, nil, nil))
	kit.Must(t, service.UpdateRunStatus(t.Context(), "order 18", workflow.RunSuspended, nil, nil))
}

// takeOrder has a step of each kind.
func takeOrder(ctx context.Context, pieces int) (string, error) {
	soon := workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 3, FirstDelay: time.Millisecond})
	if _, err := workflow.DoTx(ctx, "reserve", func(context.Context, *sql.Tx) (int, error) { return pieces, nil }); err != nil {
		return "", err
	}
	charge := func(ctx context.Context) (string, error) {
		if workflow.Attempt(ctx) < pieces || pieces == 0 {
			return "", &workflow.Error{Code: "busy", Message: "the bank is\nbusy"}
		}
		return "paid", nil
	}
	if _, err := workflow.Do(ctx, "charge", charge, soon); err != nil {
		return "", err
	}
	if err := workflow.Sleep(ctx, "cool off", time.Millisecond); err != nil {
		return "", err
	}
	nothing := func(context.Context) (any, error) { return nil, nil }
	box := workflow.Branch(ctx, "box")
	for range 2 {
		if _, err := workflow.Do(box, "pack", nothing); err != nil {
			return "", err
		}
	}
	label := workflow.Branch(box, "label")
	if _, err := workflow.Do(label, "print", charge, soon); err != nil {
		return "", err
	}
	if !workflow.Patched(ctx, "by ship") {
		return "by train", nil
	}
	return workflow.Do(ctx, "ship", func(context.Context) (string, error) { return "to Zoë, " + strings.Repeat("very ", 30) + "soon", nil })
}
