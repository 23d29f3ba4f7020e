package store

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// A loose index scan: one descent for each workflow that has claimable runs, however many they are.
var unservedWorkflows = pg.DefineRead("unserved_workflows", `
	WITH RECURSIVE waiting AS (
	    (SELECT workflow
	     FROM {schema}.workflow_runs
	     WHERE queue IS NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	     ORDER BY workflow
	     LIMIT 1)
	    UNION ALL
	    SELECT next.workflow
	    FROM waiting
	    CROSS JOIN LATERAL (
	        SELECT workflow
	        FROM {schema}.workflow_runs
	        WHERE queue IS NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	          AND workflow > waiting.workflow
	        ORDER BY workflow
	        LIMIT 1
	    ) AS next
	)
	SELECT workflow
	FROM waiting
	WHERE NOT EXISTS (
	    SELECT FROM {schema}.workflow_workers
	    WHERE {alive} AND waiting.workflow = ANY (workflows) AND `+serves("''")+`)
	LIMIT 20`)

// serves is whether a worker serves a queue, the empty name for runs without one.
func serves(queue string) string {
	return "(coalesce(cardinality(queues), 0) = 0 OR " + queue + " = ANY (queues))"
}

// UnservedWorkflows returns the workflows, 20 at most, that have runs without a queue to be claimed now or later and that no living
// worker knows.
func (s *Store) UnservedWorkflows(ctx context.Context) (workflows []string, err error) {
	err = s.db.List(ctx, &workflows, unservedWorkflows)
	return workflows, pg.Problem("look for unserved workflows", err)
}

var unservedQueues = pg.DefineRead("unserved_queues", `
	WITH RECURSIVE waiting AS (
	    (SELECT queue, workflow
	     FROM {schema}.workflow_runs
	     WHERE queue IS NOT NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	     ORDER BY queue, workflow
	     LIMIT 1)
	    UNION ALL
	    SELECT next.queue, next.workflow
	    FROM waiting
	    CROSS JOIN LATERAL (
	        SELECT queue, workflow
	        FROM {schema}.workflow_runs
	        WHERE queue IS NOT NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	          AND (queue, workflow) > (waiting.queue, waiting.workflow)
	        ORDER BY queue, workflow
	        LIMIT 1
	    ) AS next
	)
	SELECT queue, workflow
	FROM waiting
	WHERE NOT EXISTS (
	    SELECT FROM {schema}.workflow_workers
	    WHERE {alive} AND waiting.workflow = ANY (workflows) AND `+serves("waiting.queue")+`)
	LIMIT 20`)

// Unserved is a queue with runs of a workflow.
type Unserved struct {
	Queue    string `db:"queue"`
	Workflow string `db:"workflow"`
}

// UnservedQueues returns the queues, with workflows, 20 at most, that have runs to be claimed now or later and that no living
// worker serves which knows the workflow.
func (s *Store) UnservedQueues(ctx context.Context) (unserved []Unserved, err error) {
	err = s.db.List(ctx, &unserved, unservedQueues)
	return unserved, pg.Problem("look for unserved queues", err)
}

var unservedSchedules = pg.DefineRead("unserved_schedules", `
	SELECT name, workflow
	FROM {schema}.workflow_schedules AS schedule
	WHERE paused_at IS NULL
	  AND NOT EXISTS (
	    SELECT FROM {schema}.workflow_workers
	    WHERE {alive} AND schedule.workflow = ANY (workflows) AND `+serves("coalesce(schedule.queue, '')")+`)
	ORDER BY name
	LIMIT 20`)

// UnservedSchedule is a schedule whose runs would wait.
type UnservedSchedule struct {
	Name     string `db:"name"`
	Workflow string `db:"workflow"`
}

// UnservedSchedules returns the schedules, 20 at most, whose workflow no living worker knows that serves their queue.
func (s *Store) UnservedSchedules(ctx context.Context) (unserved []UnservedSchedule, err error) {
	err = s.db.List(ctx, &unserved, unservedSchedules)
	return unserved, pg.Problem("look for unserved schedules", err)
}
