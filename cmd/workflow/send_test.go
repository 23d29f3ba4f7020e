package main

import (
	"context"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

var (
	paid    = workflow.DefineSignal[map[string]int]("paid")
	release = workflow.DefineApproval[bool]("release")
)

// settle waits for a payment, then for somebody.
func settle(ctx context.Context, _ int) (string, error) {
	payment, err := paid.Wait(ctx, 0)
	if err != nil {
		return "", err
	}
	decision, err := release.Ask(workflow.Branch(ctx, "eu"), workflow.ApprovalRequest{From: []string{"anna", "ben"}, For: payment})
	if err != nil || !decision.Value {
		return "", err
	}
	return decision.By, nil
}

// A run that waits for a signal and for a person goes on by what is typed; what would never count is refused.
func TestSignalAndDecide(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	url := database.URL()
	w := workflow.Define("settle", settle)
	service := serve(t, database.Open(t, pgtest.PQ), w)
	kit.Work(t, service)
	handle, err := w.Start(t.Context(), service, 1, workflow.WithRunID("order 1"))
	kit.Must(t, err)
	say := func(answer string, args ...string) result {
		return console{url: url, answer: answer}.invoke(t.Context(), args...)
	}
	want := func(got result, code int, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if got.code != code || !strings.Contains(got.stdout+got.stderr, part) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", got.code, code, part, got.stdout, got.stderr)
			}
		}
	}
	want(say("", "decide"), exitOK, "Nobody is asked for anything.")
	waitsForOthers(t, service, "order 1", "signal:paid")
	want(say("", "signal", "order 1", "paid", "{cents: 3}"), exitUsage, "is not JSON")
	want(say("", "signal", "order 1"), exitUsage, "too few")
	want(say("", "signal", "order 1", "approval:x", "1"), exitUsage, "must not contain ':'")
	want(say("", "signal", "order 1", "later", "1"), exitOK, "does not wait for it now: it waits for signal paid.")
	want(say(`{"cents": 3}`, "signal", "order 1", "paid", "-", "--key", "k"), exitOK, "The run waits for it, and goes on.")
	waitsForOthers(t, service, "order 1", "signal:approval:eu/release")
	want(say("", "signal", "order 1", "paid", `{"cents": 3}`, "--key", "k", "--json"), exitOK, `"waited_for": false`)

	golden(t, "decide", strings.ReplaceAll(printed(t, url, "decide"), "99d", "100d"))
	golden(t, "decide.json", timeless(printed(t, url, "decide", "--json", "--by", "ben")))
	want(say("", "decide", "--by", "eve"), exitOK, "Nobody is asked")
	const id = "order%201/eu/release"
	want(say("", "decide", id), exitUsage, "the decision is missing")
	want(say("", "decide", id, "true"), exitUsage, "--by is missing")
	want(say("", "decide", "order%201", "true", "--by", "anna"), exitUsage, "is no id of an approval")
	want(say("", "decide", id, "yes", "--by", "anna"), exitUsage, "is not JSON")
	want(say("", "decide", id, "true", "--by", "eve"), exitUsage, "anna, ben may decide this")
	want(say("", "decide", id, "true", "--by", "ben"), exitOK, "the run goes on")
	got, err := handle.Result(kit.Context(t))
	if err != nil || got != "ben" {
		t.Errorf("%q, %v", got, err)
	}
	want(say("", "decide", id, "true", "--by", "ben"), exitRefused, "is decided or out of time")
	want(say("", "signal", "order 1", "paid"), exitRefused, "finished")
}
