package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Whatever the reason, there is something to do, or to look at next.
func TestAdviceForEachReason(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../why.go")
	kit.Must(t, err)
	codes := regexp.MustCompile(`WhyCode = "(\w+)"`).FindAllStringSubmatch(string(text), -1)
	if len(codes) != len(advices) || len(codes) < 21 {
		t.Errorf("advice for %d of %d reasons", len(advices), len(codes))
	}
	c := &cli{target: target{schema: "jobs"}}
	for _, code := range codes {
		all := c.advice(workflow.Why{
			RunID: "order 1", Workflow: "order", Status: workflow.RunSuspended, Code: workflow.WhyCode(code[1]), Queue: "images",
			WaitsFor: []string{"signal:paid", "signal:approval:eu/manager#1", "step:ship"}, Limit: 3, Serving: 1, Count: 2,
			Runs: []workflow.WhyRun{{RunID: "other"}},
		})
		commands := 0
		for _, a := range all {
			if (a.text == "") == (a.command == "") {
				t.Errorf("%s: %+v is not either a sentence or a command", code[1], a)
			}
			if a.command != "" {
				commands++
				c.parses(t, a.command)
			}
		}
		if commands == 0 {
			t.Errorf("%s: no command: %v", code[1], all)
		}
	}
	if unknown := c.advice(workflow.Why{Code: "later"}); len(unknown) != 1 {
		t.Errorf("of a reason of a later release: %v", unknown)
	}
}

// parses checks that a command line that was printed is one.
func (c *cli) parses(t *testing.T, line string) {
	t.Helper()
	line, found := strings.CutSuffix(line, " --schema jobs")
	if !found {
		t.Errorf("%s is for another schema", line)
	}
	command, rest, err := (&cli{}).root().Find(split(line))
	if err == nil {
		err = command.ParseFlags(rest)
	}
	if err == nil {
		err = command.ValidateArgs(command.Flags().Args())
	}
	if err != nil || command.Name() == "workflow" {
		t.Errorf("%s: %v", line, err)
	}
}

// The reasons that a queue can be, on a real one, and the list of them by how long each has lasted.
func TestWhyOfQueues(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	resize := workflow.Define("resize", takeOrder)
	service := serve(t, db, resize)
	kit.Must(t, service.SetQueue(t.Context(), workflow.Queue{Name: "images", MaxRunning: 1}))
	for _, id := range []string{"image 1", "image 2"} {
		_, err := resize.Start(t.Context(), service, 1, workflow.WithRunID(id), workflow.WithQueue("images"))
		kit.Must(t, err)
	}
	kit.Must(t, service.PauseQueue(t.Context(), "images"))
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET run_at = run_at - 3600000, updated_at = updated_at - 3600000 WHERE id = 'image 2'`)
	url := database.URL()

	var all []struct {
		RunID    string `json:"run_id"`
		Code     string
		Since    time.Time
		Text     string
		Commands []string
	}
	kit.Must(t, json.Unmarshal([]byte(printed(t, url, "why", "--queue", "images", "--json")), &all))
	if len(all) != 2 || all[0].RunID != "image 2" || all[0].Code != "queue_paused" || all[0].Since.IsZero() ||
		!strings.Contains(all[0].Text, "paused since") {
		t.Fatalf("the oldest comes first, with its reason: %+v", all)
	}
	if diff := cmp.Diff([]string{"workflow queues resume images", "workflow doctor"}, all[0].Commands); diff != "" {
		t.Error(diff)
	}
	if list := printed(t, url, "why"); !strings.Contains(list, "image 2  resize    pending  queue_paused  1h0m") ||
		!strings.HasSuffix(list, "\n2 queue_paused. What to do: workflow why RUN\n") {
		t.Errorf("list:\n%s", list)
	}
	if list := printed(t, url, "why", "image 1", "image 2"); strings.Index(list, "image 1") > strings.Index(list, "image 2") {
		t.Errorf("in the order of the command line:\n%s", list)
	}
	if list := printed(t, url, "why", "--limit", "1"); strings.Contains(list, "image 1") || !strings.Contains(list, "--older 1h") {
		t.Errorf("one of two:\n%s", list)
	}
	kit.Must(t, service.Cancel(t.Context(), "image 1"))
	kit.Must(t, service.Cancel(t.Context(), "image 2"))
	if got := printed(t, url, "why"); got != "No run is unfinished.\n" {
		t.Errorf("nothing is unfinished:\n%s", got)
	}
	if got := printed(t, url, "why", "--json"); got != "[]\n" {
		t.Errorf("nothing is unfinished:\n%s", got)
	}
}
