package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Among very many runs a look costs as much as among some, and says that it has not seen all. What is stuck is found all the same.
func TestAmongManyRuns(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	url, db := database.URL(), database.Open(t, pgtest.PQ)
	service, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	kit.Must(t, service.SetQueue(t.Context(), workflow.Queue{Name: "images"}))
	kit.Exec(t, db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT 'q' || n, 'w', 'pending', '1', 1, 1, 1, 'images', 2, '' FROM generate_series(1, 10001) AS n`)
	if list := printed(t, url, "queues"); !strings.Contains(list, "10000+") {
		t.Errorf("of 10,001 that wait:\n%s", list)
	}
	kit.Exec(t, db, `DELETE FROM workflows.workflow_runs WHERE id <> 'q7'`)
	kit.Exec(t, db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
		SELECT 'done' || n, 'w', 'completed', '1', 2, 2 FROM generate_series(1, 10000) AS n`)
	frame := console{url: url, width: 200, now: true}.printed(t, "top")
	if !strings.Contains(frame, "1 pending") || strings.Contains(frame, "q7") || !strings.Contains(frame, "workflow why looks at all") {
		t.Errorf("what is older than 10,000 runs is left to why:\n%s", frame)
	}
	if list := printed(t, url, "why"); !strings.Contains(list, "q7") {
		t.Errorf("what is stuck behind 10,000 runs:\n%s", list)
	}
	var queues []struct {
		Waiting int
		AtLeast bool `json:"at_least"`
	}
	kit.Must(t, json.Unmarshal([]byte(printed(t, url, "queues", "--json")), &queues))
	if len(queues) != 1 || queues[0].Waiting != 1 || queues[0].AtLeast {
		t.Errorf("the queue: %+v", queues)
	}
}
