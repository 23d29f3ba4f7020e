package store

import (
	"context"
	"maps"
	"slices"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Lane is a part of a queue that has a mark of its own: up to it there is nothing to be claimed any more.
type Lane struct {
	Queue    string
	Workflow string
	Priority int
}

// levels are the priorities of a queue, in their order, as an array.
const levels = "{0,1,2,3,4}"

const levelCount = LowestPriority - HighestPriority + 1

// marksOf are the marks of all workflows in all queues as one array, by queue, workflow and priority.
func marksOf(queues, workflows []string, marks map[Lane]int64) string {
	var all pg.Array
	for _, queue := range queues {
		for _, workflow := range workflows {
			for priority := range levelCount {
				all.Add(marks[Lane{queue, workflow, priority}])
			}
		}
	}
	return all.Literal()
}

// markOf is the mark of a priority of the nth workflow in the array.
func markOf(n, priority, marks string) string {
	return "coalesce((SELECT " + marks + "::bigint[])[(" + n + " - 1) * 5 + " + priority + " + 1], 0)"
}

// lowestMark is the lowest mark of the nth workflow.
func lowestMark(n, marks string) string {
	return "coalesce((SELECT min(mark) FROM unnest((SELECT " + marks + "::bigint[])[(" + n + " - 1) * 5 + 1 : " + n + " * 5]) AS mark), 0)"
}

// FindRequest asks for queues in which runs may be due.
type FindRequest struct {
	Workflows []string       // only runs of these
	Serve     []string       // only these queues; nil: all
	Marks     map[Lane]int64 // only runs whose run_at is greater, in Unix milliseconds; none for a lane: a full look
}

// A run of a partition may be due later only: which are is for the claim to find out.
var findQueues = pg.DefineRead("find_queues", `
	SELECT queue.name
	FROM {schema}.workflow_queues AS queue
	LEFT JOIN unnest((SELECT $2::text[])) WITH ORDINALITY AS given (name, n) ON given.name = queue.name
	CROSS JOIN LATERAL (
	    SELECT
	    FROM (
	        SELECT workflow, (coalesce(given.n, 0) - 1) * cardinality((SELECT $1::text[])) + n AS n
	        FROM unnest((SELECT $1::text[])) WITH ORDINALITY AS known (workflow, n)
	        OFFSET 0
	    ) AS known
	    CROSS JOIN LATERAL (
	        (SELECT true
	         FROM unnest('`+levels+`'::smallint[]) AS level (priority)
	         CROSS JOIN LATERAL (
	             SELECT
	             FROM {schema}.workflow_runs
	             WHERE queue = queue.name
	               AND workflow = known.workflow
	               AND partition_key = ''
	               AND priority = level.priority
	               AND dispatched_at IS NULL
	               AND status IN ('pending', 'suspended')
	               AND run_at > `+markOf("known.n", "level.priority", "$4")+`
	               AND run_at <= {now_ms}
	             ORDER BY run_at
	             LIMIT 1
	         ) AS run
	         LIMIT 1)
	        UNION ALL
	        (SELECT true
	         FROM (SELECT `+lowestMark("known.n", "$4")+` AS mark OFFSET 0) AS lowest
	         CROSS JOIN LATERAL (
	             SELECT
	             FROM {schema}.workflow_runs
	             WHERE queue = queue.name
	               AND workflow = known.workflow
	               AND partition_key > ''
	               AND dispatched_at IS NULL
	               AND status IN ('pending', 'suspended')
	               AND run_at > lowest.mark
	             ORDER BY partition_key
	             LIMIT 1
	         ) AS run)
	        LIMIT 1
	    ) AS run
	    LIMIT 1
	) AS due
	WHERE queue.paused_at IS NULL AND ($3::boolean OR given.n IS NOT NULL)`)

// FindQueues returns the queues in which runs of the given workflows may be due, those that are paused left out. It asks all of
// them at once, and writes nothing.
func (s *Store) FindQueues(ctx context.Context, request FindRequest) (found []string, err error) {
	queues := request.Serve
	if queues == nil { // all: those that have marks are named
		named := make(map[string]bool)
		for lane := range request.Marks {
			named[lane.Queue] = true
		}
		queues = slices.Sorted(maps.Keys(named))
	}
	err = s.db.List(ctx, &found, findQueues, pg.Texts(request.Workflows), pg.Texts(queues), request.Serve == nil,
		marksOf(queues, request.Workflows, request.Marks))
	return found, pg.Problem("look for due queues", err)
}
