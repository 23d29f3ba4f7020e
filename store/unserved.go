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
	     WHERE status IN ('pending', 'suspended') AND run_at IS NOT NULL
	     ORDER BY workflow
	     LIMIT 1)
	    UNION ALL
	    SELECT next.workflow
	    FROM waiting
	    CROSS JOIN LATERAL (
	        SELECT workflow
	        FROM {schema}.workflow_runs
	        WHERE status IN ('pending', 'suspended') AND run_at IS NOT NULL AND workflow > waiting.workflow
	        ORDER BY workflow
	        LIMIT 1
	    ) AS next
	)
	SELECT workflow
	FROM waiting
	WHERE NOT EXISTS (
	    SELECT FROM {schema}.workflow_workers
	    WHERE {alive} AND waiting.workflow = ANY (workflows))
	LIMIT 20`)

// UnservedWorkflows returns the workflows, 20 at most, that have runs to be claimed now or later and that no living worker knows.
func (s *Store) UnservedWorkflows(ctx context.Context) (workflows []string, err error) {
	err = s.db.List(ctx, &workflows, unservedWorkflows)
	return workflows, pg.Problem("look for unserved workflows", err)
}
