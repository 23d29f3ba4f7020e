package store

import (
	"encoding/json"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Whoever is asked why a run does not move reads a bounded number of rows, each by an index: those of the run and of who executes it,
// the living workers, and of other runs at most a thousand in one place, ten thousand of a family, or as many as a limit allows.
// What does not matter to the run is not looked up: the keys of such a look-up are NULL.
var whereabouts = pg.DefineRead("whereabouts", `
	SELECT clock.ms AS now, run.status, run.workflow, run.suspended_for, run.waits_for, run.error, run.run_at, run.blocked_at, run.dispatched_at,
	       run.priority, run.partition_key, run.queue,
	       run.owner, owner.host, owner.pid, owner.version, owner.expires_at AS lease_until,
	       flight.step AS flight_step, flight.since AS flight_since, flight.n AS flights,
	       next.step_name AS next_step, next.kind AS next_kind, next.wake_at AS next_at, next.attempts AS next_attempts, next.error AS next_error,
	       coalesce(awaited.n, 0) AS awaited, child.runs AS children,
	       living.workers, living.serving, living.executing, living.full_workers,
	       alike.n + queued.n AS ahead, `+columnsOf(limitsRow{})+`,
	       busy.n AS running, busy.runs AS running_runs, beside.n AS in_partition, beside.runs AS in_partition_runs, turn.rate_at
	FROM {schema}.workflow_runs AS run
	CROSS JOIN LATERAL (
	    SELECT {now_ms} AS ms, {now_ms} * 1000 AS us
	    OFFSET 0
	) AS clock
	CROSS JOIN LATERAL (
	    SELECT run.status IN ('pending', 'suspended') AND run.run_at <= clock.ms AS now
	    OFFSET 0
	) AS due`+whoHasIt+whatItWaitsFor+whatIsInItsWay+whoComesBefore+`
	WHERE run.id = $1`)

const whoHasIt = `
	LEFT JOIN LATERAL (
	    SELECT host, pid, version, expires_at, hanging
	    FROM {schema}.workflow_workers
	    WHERE id = run.owner
	    OFFSET 0
	) AS owner ON true
	CROSS JOIN LATERAL (
	    SELECT count(*) AS n, min(said.since) AS since, (array_agg(said.step ORDER BY said.since, said.step))[1] AS step
	    FROM jsonb_to_recordset(owner.hanging) AS said (run_id text, step text, since bigint)
	    ` + saidRecorded + `
	    WHERE said.run_id = run.id AND step.recorded IS NULL
	) AS flight`

// A family is asked for ten thousand of its runs at most: there is no index of the unfinished ones.
var whatItWaitsFor = `
	LEFT JOIN LATERAL (
	    -- A sleep is recorded when it begins, a further attempt with the failure of the one before.
	    SELECT step_name, kind, wake_at, attempts, error
	    FROM {schema}.workflow_steps
	    WHERE run_id = CASE WHEN run.status IN ('running', 'suspended') THEN run.id END
	      AND wake_at > clock.ms
	      AND (kind = 'sleep' OR status = 'pending' AND attempts IS NOT NULL)
	    ORDER BY wake_at
	    LIMIT 1
	) AS next ON true
	CROSS JOIN LATERAL (
	    SELECT sum(step.waiting) AS n
	    FROM unnest(run.waits_for) AS cause
	    CROSS JOIN LATERAL (
	        SELECT waiting
	        FROM {schema}.workflow_steps
	        WHERE run_id = run.id AND step_name = substr(cause, length('step:') + 1) AND cause LIKE 'step:%'
	        OFFSET 0
	    ) AS step
	) AS awaited
	CROSS JOIN LATERAL (
	    ` + crowd(`
	        SELECT id, workflow, status, updated_at
	        FROM (
	            SELECT id, workflow, status, updated_at, parent_step
	            FROM {schema}.workflow_runs
	            WHERE parent_id = CASE WHEN awaited.n > 0 THEN run.id END
	            ORDER BY id
	            LIMIT 10000
	        ) AS child
	        WHERE status IN ('pending', 'running', 'suspended') AND 'step:' || parent_step = ANY (run.waits_for)`) + `
	) AS child`

// What a queue's limits count, and the living workers. Of a queue without a limit nothing is counted.
var whatIsInItsWay = `
	LEFT JOIN LATERAL (
	    SELECT ` + columnsOf(limitsRow{}) + `
	    FROM {schema}.workflow_queues
	    WHERE name = CASE WHEN due.now THEN run.queue END
	    OFFSET 0
	) AS queue ON true
	CROSS JOIN LATERAL (
	    ` + crowd(`
	        SELECT id, workflow, status, updated_at
	        FROM {schema}.workflow_runs
	        WHERE queue = CASE WHEN num_nonnulls(queue.max_running, queue.max_per_worker) > 0 THEN queue.name END AND status = 'running'
	        LIMIT coalesce(queue.max_running, 1000)`) + `
	) AS busy
	CROSS JOIN LATERAL (
	    ` + crowd(`
	        SELECT id, workflow, status, updated_at
	        FROM {schema}.workflow_runs
	        WHERE queue = CASE WHEN queue.max_per_partition IS NOT NULL THEN queue.name END AND partition_key = run.partition_key
	          AND status = 'running'
	        LIMIT coalesce(queue.max_per_partition, 0)`) + `
	) AS beside
	LEFT JOIN LATERAL (
	    SELECT ` + freeAt + ` - rate.every * (queue.rate_burst - 1) AS rate_at
	    FROM (
	        SELECT free_at
	        FROM {schema}.workflow_queue_turns
	        WHERE queue = CASE WHEN queue.rate_count IS NOT NULL THEN queue.name END
	        OFFSET 0
	    ) AS turn
	    ` + queueRate + `
	    OFFSET 0
	) AS turn ON true
	CROSS JOIN LATERAL (
	    SELECT count(*) AS workers, count(*) FILTER (WHERE worker.serving) AS serving,
	           coalesce(sum(held.n), 0) AS executing, count(*) FILTER (WHERE held.of_queue >= queue.max_per_worker) AS full_workers
	    FROM (
	        SELECT id, run.workflow = ANY (workflows) AND ` + serves("coalesce(run.queue, '')") + ` AS serving
	        FROM {schema}.workflow_workers
	        WHERE {alive}
	        OFFSET 0
	    ) AS worker
	    CROSS JOIN LATERAL (
	        SELECT count(*) AS n, count(*) FILTER (WHERE of_queue) AS of_queue
	        FROM (
	            SELECT queue = run.queue AS of_queue
	            FROM {schema}.workflow_runs
	            WHERE owner = CASE WHEN due.now AND worker.serving THEN worker.id END
	            LIMIT greatest(queue.max_per_worker, 1000)
	        ) AS held
	    ) AS held
	) AS living`

// Runs that are claimed before one of their workflow without a queue, or on one: of its partition and of its priority, or of a higher
// one.
const whoComesBefore = `
	CROSS JOIN LATERAL (
	    SELECT count(*) AS n
	    FROM (
	        SELECT
	        FROM {schema}.workflow_runs
	        WHERE workflow = CASE WHEN due.now AND run.queue IS NULL AND run.dispatched_at IS NULL THEN run.workflow END
	          AND queue IS NULL
	          AND dispatched_at IS NULL
	          AND status IN ('pending', 'suspended')
	          AND run_at < run.run_at
	        ORDER BY run_at
	        LIMIT 1000
	    ) AS other
	) AS alike
	CROSS JOIN LATERAL (
	    SELECT count(*) AS n
	    FROM (
	        SELECT
	        FROM unnest('` + levels + `'::smallint[]) AS level (priority)
	        CROSS JOIN LATERAL (
	            SELECT
	            FROM {schema}.workflow_runs
	            WHERE queue = CASE WHEN due.now AND run.dispatched_at IS NULL AND level.priority <= run.priority THEN run.queue END
	              AND workflow = run.workflow
	              AND partition_key = run.partition_key
	              AND priority = level.priority
	              AND dispatched_at IS NULL
	              AND status IN ('pending', 'suspended')
	              AND run_at < CASE WHEN level.priority = run.priority THEN run.run_at ELSE clock.ms + 1 END
	            ORDER BY run_at
	            LIMIT 1000
	        ) AS other
	        LIMIT 1000
	    ) AS other
	) AS queued`

// crowd is a query of how many rows there are, and of the ten runs that have stood as they do for longest.
func crowd(rows string) string {
	return `SELECT count(*) AS n,
	           to_jsonb((array_agg(jsonb_build_object('id', id, 'workflow', workflow, 'status', status, 'since', updated_at)
	                               ORDER BY updated_at, id))[1:10]) AS runs
	    FROM (` + rows + `
	    ) AS standing`
}

func crowdOf(count int, column pg.JSONB) Crowd {
	crowd := Crowd{Count: count}
	var rows []struct {
		ID       string    `json:"id"`
		Workflow string    `json:"workflow"`
		Status   RunStatus `json:"status"`
		Since    int64     `json:"since"`
	}
	if column == nil || json.Unmarshal(column, &rows) != nil { // made by our own statement
		return crowd
	}
	for _, row := range rows {
		crowd.First = append(crowd.First, Standing{row.ID, row.Workflow, row.Status, time.UnixMilli(row.Since)})
	}
	return crowd
}
