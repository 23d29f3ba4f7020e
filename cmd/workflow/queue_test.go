package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// The list and the tree say in which queue a run is, and the list has no such column where no run is in any.
func TestGoldenQueue(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	url := database.URL()
	resize := workflow.Define("resize", func(_ context.Context, image string) (string, error) { return "small " + image, nil })
	service := serve(t, database.Open(t, pgtest.PQ), resize)
	start := func(id string, options ...workflow.StartOption) {
		_, err := resize.Start(t.Context(), service, "cat.png", append(options, workflow.WithRunID(id))...)
		kit.Must(t, err)
	}
	start("image 1")
	if list := printed(t, url, "runs"); strings.Contains(list, "QUEUE") {
		t.Errorf("without queues:\n%s", list)
	}
	kit.Must(t, service.EnsureQueue(t.Context(), workflow.Queue{Name: "images\n"}))
	inQueue := workflow.WithQueue("images\n")
	start("image 2", inQueue)
	start("image 3", inQueue, workflow.WithPartition("album\t17"), workflow.WithPriority(workflow.PriorityHigh), workflow.WithUnique("cat"))
	start("image 4", inQueue, workflow.WithPriority(workflow.PriorityLowest))
	golden(t, "queued runs", timeless(printed(t, url, "runs")))
	golden(t, "queued run", timeless(printed(t, url, "show", "image 3")))
	var shown map[string]any
	kit.Must(t, json.Unmarshal([]byte(printed(t, url, "show", "image 3", "--json")), &shown))
	for field, want := range map[string]string{"queue": "images\n", "partition": "album\t17", "priority": "high", "unique_key": "cat"} {
		if shown[field] != want {
			t.Errorf("%s is %q, want %q", field, shown[field], want)
		}
	}
}
