package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Queues are listed, paused, resumed and set from the command line; what is not given stays.
func TestQueuesCommand(t *testing.T) {
	t.Parallel()
	url, service := pendings(t, "w")
	typed{"queues", "", exitOK, "There are no queues.\n", ""}.check(t, url)
	typed{"queues --json", "", exitOK, "[]\n", ""}.check(t, url)
	kit.Must(t, service.SetQueue(t.Context(), workflow.Queue{Name: "images", MaxRunning: 20, Rate: workflow.Rate{Count: 10, Per: time.Second, Burst: 3}}))
	kit.Must(t, service.SetQueue(t.Context(), workflow.Queue{Name: "a long name of a queue, such as people invent\n", MaxPerPartition: 2}))
	w := workflow.Define("resize", takeOrder)
	for _, id := range []string{"i1", "i2"} {
		_, err := w.Start(t.Context(), service, 1, workflow.WithRunID(id), workflow.WithQueue("images"))
		kit.Must(t, err)
	}
	for _, step := range []typed{
		{"queues pause images", "", exitOK, "Paused queue \"images\".\n", ""},
		{"queues set images --max-per-worker 5", "", exitOK, "Set queue", ""},
		{"queues set images --burst 4 --max-running 30 --json", "", exitOK, `"queue": "images"`, ""},
		{"queues set images --rate often", "", exitUsage, "", "want N/TIME"},
		{"queues set images --max-running -1", "", exitUsage, "", "use 0 for no limit"},
		{"queues set other", "", exitUsage, "", `There is no queue "other": make it? There is no terminal`},
		{"queues set other --max-running 1", "y\n", exitOK, "Set queue", "make it?"},
		{"queues sideways", "", exitUsage, "", "one word too many"},
		{"queues pause", "", exitUsage, "", "the name of a queue is missing"},
	} {
		step.check(t, url)
	}
	list := console{url: url, width: 80}.printed(t, "queues")
	for _, want := range []string{"images ", "paused", "0 of 30", "5 per worker, 10/1s bur…", "2 per partition", "a long name…ple invent "} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	console{url: url, width: 40}.printed(t, "queues")
	var all []map[string]any
	kit.Must(t, json.Unmarshal([]byte(printed(t, url, "queues", "--json")), &all))
	for _, timely := range []string{"paused_at", "created_at", "updated_at", "lag_seconds"} {
		delete(all[1], timely)
	}
	want := map[string]any{
		"name": "images", "max_running": 30.0, "max_per_worker": 5.0, "rate": "10/1s burst 4", "running": 0.0, "waiting": 2.0,
	}
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Errorf("in JSON (-want +got):\n%s", diff)
	}
	typed{"queues set images --rate none", "", exitOK, "Set queue", ""}.check(t, url)
	typed{"queues resume images", "", exitOK, "Resumed queue", ""}.check(t, url)
	queue, err := service.GetQueue(t.Context(), "images")
	wanted := workflow.Queue{Name: "images", MaxRunning: 30, MaxPerWorker: 5}
	if diff := cmp.Diff(wanted, queue.Queue); diff != "" || err != nil || !queue.PausedAt.IsZero() {
		t.Errorf("%v %v (-want +got):\n%s", err, queue.PausedAt, diff)
	}
}

// Schedules are listed with what they have started and skipped, paused, triggered and deleted.
func TestSchedulesCommand(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	url, db := database.URL(), database.Open(t, pgtest.PQ)
	service, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	typed{"schedules", "", exitOK, "There are no schedules.\n", ""}.check(t, url)
	w := workflow.Define("report", takeOrder)
	kit.Must(t, w.SetSchedule(t.Context(), service, workflow.Schedule{Name: "nightly", Cron: "30 2 * * *", Zone: "Europe/Berlin"}, 1))
	kit.Must(t, w.SetSchedule(t.Context(), service, workflow.Schedule{Name: "often", Every: 10 * time.Minute, Overlap: workflow.OverlapAllow}, 1))
	kit.Exec(t, db, `UPDATE workflows.workflow_schedules SET missed = 3, paused = 1 WHERE name = 'often'`)
	typed{"schedules trigger nightly", "", exitOK, "nightly/", ""}.check(t, url)
	typed{"schedules trigger nightly", "", exitRefused, "", "not finished"}.check(t, url)
	typed{"schedules pause often", "", exitOK, "Paused schedule", ""}.check(t, url)
	list := console{url: url, width: 140, now: true}.printed(t, "schedules")
	for _, want := range []string{"unserved", "paused", "every 10m", "30 2 * * * Europe/Berlin", "3 missed, 1 paused", "nightly/"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	for _, width := range []int{20, 60, 80, 100} {
		console{url: url, width: width}.printed(t, "schedules")
	}
	var all []map[string]any
	kit.Must(t, json.Unmarshal([]byte(printed(t, url, "schedules", "--json")), &all))
	for _, timely := range []string{"paused_at", "created_at", "updated_at", "next_at"} {
		delete(all[1], timely)
	}
	want := map[string]any{
		"name": "often", "workflow": "report", "every_seconds": 600.0, "catch_up_seconds": 0.0, "jitter_seconds": 0.0, "overlap": "allow",
		"input": 1.0, "started": 0.0, "unserved": true, "skipped": map[string]any{"missed": 3.0, "overlapped": 0.0, "paused": 1.0, "taken": 0.0},
	}
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Errorf("in JSON (-want +got):\n%s", diff)
	}
	typed{"schedules resume often", "", exitOK, "Resumed schedule", ""}.check(t, url)
	typed{"schedules delete often", "", exitUsage, "", `Delete schedule "often"? There is no terminal`}.check(t, url)
	typed{"schedules delete often", "y\n", exitOK, "Deleted schedule", "[y/N]"}.check(t, url)
	if left := kit.Column[string](t, db, `SELECT name FROM workflows.workflow_schedules`); len(left) != 1 || left[0] != "nightly" {
		t.Errorf("left: %v", left)
	}
}
