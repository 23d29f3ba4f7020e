package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

var (
	manager = workflow.DefineApproval[bool]("manager")
	bank    = workflow.DefineSignal[int]("bank")

	book = workflow.Define("book", func(ctx context.Context, _ int) (int, error) { return bank.Wait(ctx, 0) })
	ship = workflow.Define("ship", func(ctx context.Context, n int) (int, error) {
		return workflow.Call(workflow.Branch(ctx, "carrier"), "book", book, n)
	})
	notify = workflow.Define("notify", func(_ context.Context, how string) (string, error) {
		if how == "pigeon" {
			return "", &workflow.Error{Code: "lost", Message: "the pigeon got lost"}
		}
		return "by " + how, nil
	})
	audit = workflow.Define("audit", func(context.Context, int) (int, error) { return 0, nil })

	refund = workflow.Define("refund", func(ctx context.Context, cents int) (int, error) {
		request := workflow.ApprovalRequest{From: []string{"anna", "ben"}, For: map[string]int{"cents": cents}, Within: 24 * time.Hour}
		if cents == 0 {
			request.Within = time.Millisecond
		}
		_, err := manager.Ask(ctx, request)
		if errors.Is(err, workflow.ErrTimeout) {
			_, err = manager.Ask(ctx, workflow.ApprovalRequest{For: "any time"})
		}
		if err != nil {
			return 0, err
		}
		if _, err := bank.Wait(ctx, time.Hour); err != nil {
			return 0, err
		}
		if _, err := workflow.CallAll(ctx, "notify", notify, []string{"mail", "pigeon", "letter"}); err != nil {
			return 0, err
		}
		if _, err := workflow.Spawn(ctx, "audit", audit, cents, workflow.WithDelay(24*time.Hour)); err != nil {
			return 0, err
		}
		return workflow.Call(ctx, "ship", ship, cents)
	})
)

// waitsForOthers waits until a run has nothing to do but to wait for others.
func waitsForOthers(t *testing.T, service *workflow.Service, id, what string) {
	t.Helper()
	kit.Until(t, id+" waits for "+what, func() bool {
		run, err := service.GetRun(t.Context(), id)
		kit.Must(t, err)
		return run.Status == workflow.RunSuspended && strings.Contains(strings.Join(run.WaitsFor, " "), what)
	})
}

// relatives is a database with runs that wait for people, for others, and for each other.
func relatives(t *testing.T) (database *pgtest.Database, grandchild string) {
	t.Helper()
	database = pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	service := serve(t, db, refund, ship, book, notify, audit)
	stop := kit.Work(t, service)
	ctx := t.Context()
	for id, cents := range map[string]int{"refund 20": 1999, "refund 21": 0} {
		_, err := refund.Start(ctx, service, cents, workflow.WithRunID(id))
		kit.Must(t, err)
	}
	question := workflow.ApprovalID("refund 20", "manager")
	waitsForOthers(t, service, "refund 20", "signal:approval:manager")
	kit.Must(t, manager.Decide(ctx, service, question, "eve", true))
	kit.Must(t, manager.Decide(ctx, service, question, "anna", true))
	kit.Must(t, bank.Send(ctx, service, "refund 20", 7, workflow.WithKey("evt_1")))
	waitsForOthers(t, service, "refund 20", "step:ship")
	kit.Must(t, manager.Decide(ctx, service, question, "ben", false))
	kit.Must(t, bank.Send(ctx, service, "refund 20", 8))

	waitsForOthers(t, service, "refund 21", "signal:approval:manager#1")
	kit.Must(t, manager.Decide(ctx, service, workflow.ApprovalID("refund 21", "manager"), "anna", true))
	waitsForOthers(t, service, "refund 21", "signal:approval:manager#1")
	grandchild = kit.One[string](t, db, "SELECT id FROM workflows.workflow_runs WHERE workflow = 'book'")
	waitsForOthers(t, service, grandchild, "signal:bank")
	stop()
	kit.Exec(t, db, `UPDATE workflows.workflow_steps SET started_at = updated_at - 5 WHERE started_at IS NOT NULL`)
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET created_at = 1000 * array_position(ARRAY['notify', 'audit', 'ship', 'book'], workflow)
		WHERE parent_id IS NOT NULL`)
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET updated_at = created_at + 5 WHERE workflow = 'notify'`)
	return database, grandchild
}

// What a run has to do with others stands in one tree: who was asked, what was decided and what came too late, the runs that it
// has started, and theirs.
func TestGoldenFamily(t *testing.T) {
	t.Parallel()
	database, grandchild := relatives(t)
	url := database.URL()
	for _, id := range []string{"refund 20", "refund 21"} {
		golden(t, id, timeless(printed(t, url, "show", id)))
	}
	golden(t, "refund 20.json", timeless(printed(t, url, "show", "refund 20", "--json")))
	golden(t, "refund grandchild", timeless(printed(t, url, "show", grandchild)))
	golden(t, "refund runs", timeless(printed(t, url, "runs", "--parent", "refund 20")))
	golden(t, "refund waiting", timeless(printed(t, url, "runs", "--suspended-for", "signal")))

	kit.Exec(t, database.Open(t, pgtest.PQ), "DELETE FROM workflows.workflow_runs WHERE id = 'refund 20'")
	var ship struct{ ID string }
	for _, run := range runsAsJSON(t, url, "--workflow", "ship") {
		ship.ID = run.ID
	}
	if shown := printed(t, url, "show", ship.ID); !strings.Contains(shown, "\nparent    refund 20, which was deleted\n") {
		t.Errorf("a child whose parent was deleted:\n%s", shown)
	}
}

func runsAsJSON(t *testing.T, url string, flags ...string) (runs []struct{ ID string }) {
	t.Helper()
	kit.Must(t, json.Unmarshal([]byte(printed(t, url, append([]string{"runs", "--json"}, flags...)...)), &runs))
	return runs
}

// Of many children the first are shown, those that failed before the others, and how many are left.
func TestShowManyChildren(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	kit.Exec(t, db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at) VALUES ('p', 'p', 'completed', '1', 1, 9)`)
	kit.Exec(t, db, `
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, updated_at, result, child_id)
		VALUES ('p', 'all', 'succeeded', 'call', 1, 9, '[]', 'c1000')`)
	kit.Exec(t, db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
		SELECT 'c' || 1000 + n, 'c', CASE n WHEN 7 THEN 'failed' ELSE 'completed' END, '1', 2, 3, 'p', 'all' FROM generate_series(0, 29) AS n`)
	shown := printed(t, database.URL(), "show", "p")
	_, table, _ := strings.Cut(shown, "\nSTEP")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 2+maxMembers+1 || !strings.Contains(lines[2], "run c1007") ||
		!strings.HasSuffix(lines[len(lines)-1], fmt.Sprintf("%d more: workflow runs --parent p --limit 30", 30-maxMembers)) {
		t.Errorf("shown:\n%s", shown)
	}
}

// What became of a decision that the step has not taken.
func TestStandingOfDecisions(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	open := workflow.Step{Status: workflow.StepScheduled, WakeAt: at(60), UpdatedAt: at(1)}
	decided := workflow.Step{Status: workflow.StepSucceeded, WakeAt: at(60), UpdatedAt: at(90), SignalSeq: 5} // a worker looked late
	expired := workflow.Step{Status: workflow.StepFailed, WakeAt: at(60), UpdatedAt: at(90)}
	byProgram := workflow.Step{Status: workflow.StepSucceeded, UpdatedAt: at(30)}
	for _, test := range []struct {
		step workflow.Step
		seq  int64
		sent int
		want string
	}{
		{open, 3, 30, "unread"}, {open, 3, 70, "late"},
		{decided, 3, 30, "refused"}, {decided, 6, 40, "late"},
		{expired, 3, 30, "refused"}, {expired, 3, 70, "late"},
		{byProgram, 3, 20, "refused"}, {byProgram, 3, 40, "late"},
	} {
		if got := standingOf(workflow.SentSignal{Seq: test.seq, SentAt: at(test.sent)}, test.step); got != test.want {
			t.Errorf("%s, decision %d sent at %d: %s, want %s", test.step.Status, test.seq, test.sent, got, test.want)
		}
	}
}

// What the list says of runs that wait for others.
func TestNoteOfWaits(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		waitsFor []string
		until    time.Time
		want     string
	}{
		{[]string{"signal:bank"}, time.Time{}, "waits for signal bank"},
		{[]string{"signal:bank", "step:bank#2"}, at, "waits for signal bank, until 2026-01-02 03:04:05.000 UTC"},
		{[]string{"signal:approval:box/manager", "step:box/manager"}, time.Time{}, "waits for a decision of box/manager"},
		{[]string{"signal:bank", "step:a/ship#1"}, time.Time{}, "waits for signal bank, the runs of step a/ship#1"},
	} {
		run := workflow.Run{Status: workflow.RunSuspended, SuspendedFor: workflow.SuspendedForSignal, WaitsFor: test.waitsFor, RunAt: test.until}
		if got := note(run); got != test.want {
			t.Errorf("%v: note %q, want %q", test.waitsFor, got, test.want)
		}
	}
}
