package store

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// What a queue has is looked at up to a bound: entries of an index, also those that are not due yet, so that many that sleep cost no more
// than many that wait.
var lookAtQueues = pg.DefineRead("look_at_queues", `
	SELECT `+queueColumns+`, busy.running, due.waiting, coalesce({now_ms} - due.oldest, 0) AS lag,
	       greatest(busy.running, due.looked) >= $1::bigint AS at_least
	FROM {schema}.workflow_queues AS queue
	CROSS JOIN LATERAL (
	    SELECT count(*) AS running
	    FROM (
	        SELECT
	        FROM {schema}.workflow_runs
	        WHERE queue = queue.name AND status = 'running'
	        LIMIT $1::bigint
	    ) AS run
	) AS busy
	CROSS JOIN LATERAL (
	    SELECT count(*) AS looked, count(*) FILTER (WHERE run_at <= {now_ms}) AS waiting, min(run_at) FILTER (WHERE run_at <= {now_ms}) AS oldest
	    FROM (
	        SELECT run_at
	        FROM {schema}.workflow_runs
	        WHERE queue = queue.name AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL
	        LIMIT $1::bigint
	    ) AS run
	) AS due
	ORDER BY name
	LIMIT 1000`)

// LookAtQueues returns the queues by name, 1,000 at most, of each of which so many running and so many other runs are looked at.
func (s *Store) LookAtQueues(ctx context.Context, most int) ([]QueueState, error) {
	var rows []struct {
		queueStateRow
		AtLeast bool `db:"at_least"`
	}
	if err := s.db.List(ctx, &rows, lookAtQueues, int64(most)); err != nil {
		return nil, pg.Problem("look at queues", err)
	}
	queues := make([]QueueState, len(rows))
	for i, row := range rows {
		queues[i] = row.state()
		queues[i].AtLeast = row.AtLeast
	}
	return queues, nil
}
