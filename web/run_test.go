package web_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

// A run's page has what it is, why it does not move, and its steps.
func TestRun(t *testing.T) {
	b := setup(t)
	child := workflow.Define("ship", func(_ context.Context, n int) (int, error) { return n, nil })
	paid := workflow.DefineSignal[int]("paid")
	order := workflow.Define("order", func(ctx context.Context, n int) (int, error) {
		if _, err := workflow.Do(ctx, "reserve stock", func(context.Context) (string, error) { return "2 umbrellas", nil }); err != nil {
			return 0, err
		}
		calls := 0
		if _, err := workflow.Do(ctx, "charge", func(context.Context) (int, error) {
			if calls++; calls == 1 {
				return 0, errors.New("connection refused")
			}
			return 1, nil
		}, workflow.WithRetry(workflow.RetryPolicy{FirstDelay: time.Millisecond, Jitter: -1})); err != nil {
			return 0, err
		}
		if _, err := workflow.Call(ctx, "ship it", child, n); err != nil {
			return 0, err
		}
		if _, err := paid.Wait(ctx, 0); err != nil {
			return 0, err
		}
		lines := []int{1}
		return lines[n], nil
	})
	svc := b.works(order, child)
	_, err := order.Start(t.Context(), svc, 4711, workflow.WithRunID("r1"), workflow.WithAttributes(map[string]string{"tenant": "acme"}))
	kit.Must(t, err)
	kit.Until(t, "it waits for the signal, and no longer for its child", func() bool {
		run, err := b.svc.GetRun(t.Context(), "r1")
		kit.Must(t, err)
		return run.SuspendedFor == workflow.SuspendedForSignal
	})
	b.get(web.Options{}, "run?id=r1").is(200, "<h1>order</h1>", "suspended", "for a signal", "It waits to be told something", "signal:paid",
		"4711", "reserve stock", "2 umbrellas", "connection refused", "1 failed attempt of at most 5", "ship it", `title="ship"`, `title="paid"`, "acme")

	kit.Must(t, paid.Send(t.Context(), svc, "r1", 99, workflow.WithKey("hook-1")))
	b.stands("r1", workflow.RunFailed)
	a := b.get(web.Options{}, "run?id=r1").is(200, "failed", "panic: runtime error: index out of range", "goroutine", "code <code>panic</code>", "hook-1", "99")
	a.lacks("It waits to be told something")

	b.get(web.Options{}, "run?id=none").is(http.StatusNotFound, "There is no such run")
	b.get(web.Options{}, "run").is(http.StatusBadRequest, "must not be empty")
}

// What nobody executes is said, and who could.
func TestRunSaysWhy(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	b.get(web.Options{}, "run?id=r1").is(200, "No worker is alive", "is Service.Work running anywhere?", "No step is recorded yet")
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "disks"}))
	kit.Must(t, b.svc.PauseQueue(t.Context(), "disks"))
	kit.Exec(t, b.db, `UPDATE workflows.workflow_runs SET queue = 'disks', priority = 2, partition_key = ''`)
	b.get(web.Options{}, "run?id=r1").is(200, "Its queue is paused", "disks")
}

// Each reason that the library gives has a title.
func TestEachWhyHasATitle(t *testing.T) {
	t.Parallel()
	for _, code := range web.WhyCodes() {
		if web.TitleOf(code) == "" {
			t.Errorf("%q has none", code)
		}
	}
}
