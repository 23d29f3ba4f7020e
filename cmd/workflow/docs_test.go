package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// documented returns the command lines of a text: those that stand by themselves.
func documented(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if command, found := strings.CutPrefix(line, "    workflow "); found && !strings.HasPrefix(command, "(") {
			lines = append(lines, "workflow "+strings.TrimSpace(command))
		}
	}
	return lines
}

// split reads a command line as a shell does, as far as the documents need.
func split(line string) (args []string) {
	for i, part := range strings.Split(strings.TrimPrefix(line, "workflow "), "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}

// Each command of the documents and of the help is one, and those of the night do what is told of them.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../../docs/*.md")
	kit.Must(t, err)
	count := 0
	for _, path := range append(documents, "../../README.md") {
		text, err := os.ReadFile(path)
		kit.Must(t, err)
		for _, line := range documented(string(text)) {
			count++
			(&cli{target: target{schema: "jobs"}}).parses(t, line+" --schema jobs")
		}
	}
	if count < 15 {
		t.Errorf("found %d commands", count)
	}

	text, err := os.ReadFile("../../docs/operations.md")
	kit.Must(t, err)
	_, section, _ := strings.Cut(string(text), "\n## At three in the morning\n")
	section, _, _ = strings.Cut(section, "\n## ")
	golden, err := os.ReadFile("testdata/why-order-11.golden")
	kit.Must(t, err)
	if !strings.Contains(section, "```\n"+string(golden)+"```\n") {
		t.Error("what why prints is not what is shown")
	}
	for line := range strings.Lines(exitHelp) {
		if code, means, found := strings.Cut(strings.TrimSpace(line), "  "); found && !strings.Contains(strings.ReplaceAll(section, "`", ""), "| "+code+" | "+means+" |\n") {
			t.Errorf("exit code %s is told in other words", code)
		}
	}
	before, after, _ := strings.Cut(section, "```\n") // what is printed is not called
	_, after, _ = strings.Cut(after, "```\n")
	night(t, documented(before+after))
}

// night does what the commands say, one after the other, on a run that waits.
func night(t *testing.T, lines []string) {
	t.Helper()
	database := pgtest.New(t)
	w := workflow.Define("take-order", settle)
	service := serve(t, database.Open(t, pgtest.PQ), w)
	kit.Must(t, service.EnsureQueue(t.Context(), workflow.Queue{Name: "images"}))
	kit.Must(t, w.EnsureSchedule(t.Context(), service, workflow.Schedule{Name: "nightly", Cron: "@daily"}, 1))
	kit.Work(t, service)
	_, err := w.Start(t.Context(), service, 1, workflow.WithRunID("order-1"))
	kit.Must(t, err)
	waitsForOthers(t, service, "order-1", "signal:paid")
	for _, line := range lines {
		args := split(strings.ReplaceAll(strings.ReplaceAll(line, "RUN/manager", "order-1/eu/release"), "RUN", "order-1"))
		switch args[0] {
		case "cancel":
			args = append(args, "--yes")
		case "top":
			args = append(args, "--json")
		}
		got := console{url: database.URL(), now: true}.invoke(t.Context(), args...)
		nothing := got.code == exitNothing && (strings.Contains(line, "--older") || strings.Contains(line, "--status")) // there is none like that
		if got.code != exitOK && !nothing {
			t.Errorf("%s: exit code %d\n%s%s", line, got.code, got.stdout, got.stderr)
		}
		switch {
		case args[0] == "resume" && args[1] == "order-1":
			waitsForOthers(t, service, "order-1", "signal:paid")
		case args[0] == "signal":
			waitsForOthers(t, service, "order-1", "signal:approval:eu/release")
		}
	}
	run, err := service.AwaitRun(kit.Context(t), "order-1")
	kit.Must(t, err)
	if run.Status != workflow.RunCompleted || string(run.Output) != `"anna"` {
		t.Errorf("after the night it is %s: %s %v", run.Status, run.Output, run.Err)
	}
}
