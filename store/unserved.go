package store

import (
	"context"
	"database/sql"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// served says of a worker's row whether it serves a queue, given as an expression; '' is for runs without one.
func served(queue string) string {
	return "(queues IS NULL OR queues = '{}' OR " + queue + " = ANY (queues))"
}

// Loose index scans: one descent for each workflow that has claimable runs, however many they are, and for each workflow of each queue.
var unservedRuns = pg.DefineRead("unserved_runs", `
	WITH RECURSIVE loose AS (
	    (SELECT workflow
	     FROM {schema}.workflow_runs
	     WHERE queue IS NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	     ORDER BY workflow
	     LIMIT 1)
	    UNION ALL
	    SELECT next.workflow
	    FROM loose
	    CROSS JOIN LATERAL (
	        SELECT workflow
	        FROM {schema}.workflow_runs
	        WHERE queue IS NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	          AND workflow > loose.workflow
	        ORDER BY workflow
	        LIMIT 1
	    ) AS next
	), queued AS (
	    (SELECT queue, workflow
	     FROM {schema}.workflow_runs
	     WHERE queue IS NOT NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	     ORDER BY queue, workflow
	     LIMIT 1)
	    UNION ALL
	    SELECT next.queue, next.workflow
	    FROM queued
	    CROSS JOIN LATERAL (
	        SELECT queue, workflow
	        FROM {schema}.workflow_runs
	        WHERE queue IS NOT NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	          AND (queue, workflow) > (queued.queue, queued.workflow)
	        ORDER BY queue, workflow
	        LIMIT 1
	    ) AS next
	), waiting AS (
	    SELECT NULL AS queue, workflow
	    FROM loose
	    UNION ALL
	    SELECT queue, workflow
	    FROM queued
	)
	SELECT queue, workflow
	FROM waiting
	WHERE NOT EXISTS (
	    SELECT FROM {schema}.workflow_workers
	    WHERE {alive} AND waiting.workflow = ANY (workflows) AND `+served("coalesce(waiting.queue, '')")+`)
	LIMIT 20`)

// Unserved are runs that wait in a queue, or without one, and that no living worker claims.
type Unserved struct {
	Queue    string // "": none
	Workflow string
}

// UnservedRuns returns the workflows, 20 at most, by queue, that have runs to be claimed now or later and that no living worker both knows
// and serves.
func (s *Store) UnservedRuns(ctx context.Context) ([]Unserved, error) {
	var rows []struct {
		Queue    sql.NullString `db:"queue"`
		Workflow string         `db:"workflow"`
	}
	if err := s.db.List(ctx, &rows, unservedRuns); err != nil {
		return nil, pg.Problem("look for unserved runs", err)
	}
	unserved := make([]Unserved, len(rows))
	for i, row := range rows {
		unserved[i] = Unserved{Queue: row.Queue.String, Workflow: row.Workflow}
	}
	return unserved, nil
}
