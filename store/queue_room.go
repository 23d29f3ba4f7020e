package store

// The clauses of a statement that claims runs of a queue, whichever they are. One statement counts, takes the turn and claims. A
// claim that comes between what this one has read and its turn has raised the turn's seq: then the row is not as this one asks for
// it any more, and nothing is claimed. While another claim is under way the row is locked, and this one does not wait.

// queueClock is the clock to the microsecond, for rates.
const queueClock = `clock AS (
	    SELECT us / 1000 AS ms, us{bound}
	    FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us OFFSET 0) AS now
	)`

// queueRate is what lies between two starts of a queue's rate.
const queueRate = `CROSS JOIN LATERAL (
	            -- Microseconds from one start to the next, rounded up.
	            SELECT (queue.rate_window * 1000 + queue.rate_count - 1) / queue.rate_count AS every
	        ) AS rate`

// freeAt is a turn's free_at as it holds by the queue's rate of now.
const freeAt = `CASE
	                   -- What lies so far ahead was made by a slower rate, or before the clock was moved back: one run may begin now.
	                   WHEN turn.free_at > clock.us + rate.every * queue.rate_burst + 1000000
	                   THEN clock.us + rate.every * (queue.rate_burst - 1)
	                   ELSE turn.free_at
	               END`

// queueRoom is how many runs of a queue may begin now on a worker ($1), limit at most, and the turn that this was read at; if a partition
// is given, so many runs of that. No row: there is no such queue. What counts is what the rows of runs say, so that nothing has to be
// given back; and no more is counted than the limit. free_at is what the generic cell rate algorithm calls the theoretical arrival time.
func queueRoom(queue, limit, partition string) string {
	least := ""
	if partition != "" {
		least = `,
	                   ` + inPartition("queue.max_per_partition", "queue.name", partition)
	}
	return `room AS MATERIALIZED (
	    SELECT queue.*,
	           greatest(least(` + limit + `, queue.places, CASE
	               WHEN queue.free_at - queue.spare > queue.us THEN 0
	               ELSE (queue.us + queue.spare - greatest(queue.free_at, queue.us)) / queue.every + 1
	           END), 0) AS n
	    FROM (
	        SELECT queue.name, queue.max_per_partition, turn.seq, clock.us, rate.every, rate.every * (queue.rate_burst - 1) AS spare,
	               ` + freeAt + ` AS free_at,
	               CASE WHEN queue.paused_at IS NULL THEN least(
	                   queue.max_running - CASE WHEN queue.max_running IS NOT NULL THEN (
	                       SELECT count(*)
	                       FROM (
	                           SELECT
	                           FROM {schema}.workflow_runs
	                           WHERE queue = queue.name AND status = 'running'
	                           LIMIT queue.max_running
	                       ) AS busy
	                   ) END,
	                   queue.max_per_worker - CASE WHEN queue.max_per_worker IS NOT NULL THEN (
	                       SELECT count(*)
	                       FROM {schema}.workflow_runs
	                       WHERE owner = $1 AND queue = queue.name
	                   ) END` + least + `
	               ) ELSE 0 END AS places
	        FROM {schema}.workflow_queues AS queue
	        CROSS JOIN clock
	        CROSS JOIN LATERAL (
	            SELECT seq, free_at
	            FROM {schema}.workflow_queue_turns
	            WHERE queue = queue.name
	            OFFSET 0
	        ) AS turn
	        ` + queueRate + `
	        WHERE queue.name = ` + queue + `
	        OFFSET 0 -- counted once, however often the count is used
	    ) AS queue
	)`
}

// inPartition is how many runs of a partition of a queue may begin besides, NULL: any number.
func inPartition(most, queue, key string) string {
	return most + ` - CASE WHEN ` + most + ` IS NOT NULL THEN (
	                       SELECT count(*)
	                       FROM (
	                           SELECT
	                           FROM {schema}.workflow_runs
	                           WHERE queue = ` + queue + ` AND partition_key = ` + key + ` AND status = 'running'
	                           LIMIT ` + most + `
	                       ) AS busy
	                   ) END`
}

// queueTurn takes the turn and claims what a clause chosen has: where the rows are (at), and more that picked hands on. What needs no
// turn, because it has no queue, is claimed without. Nothing is locked unless something was chosen, and then the turn first. A row is
// looked up by where the statement's snapshot has it. One that was changed since is claimed as it is now, or left to the next claim,
// as the server's version has it.
func queueTurn(noQueue, more, returning string) string {
	return `held AS MATERIALIZED (
	    SELECT queue, seq
	    FROM {schema}.workflow_queue_turns
	    WHERE queue = (SELECT name FROM room) AND seq = (SELECT seq FROM room) AND EXISTS (SELECT FROM chosen)
	    FOR NO KEY UPDATE SKIP LOCKED
	), worker AS MATERIALIZED (
	    -- Only a worker with a lease may claim.
	    SELECT id
	    FROM {schema}.workflow_workers
	    WHERE id = $1 AND {alive} AND EXISTS (SELECT FROM chosen) AND (` + noQueue + ` OR EXISTS (SELECT FROM held))
	    FOR KEY SHARE
	), picked AS MATERIALIZED (
	    SELECT run.*, chosen.at` + more + `
	    FROM (SELECT chosen.* FROM worker CROSS JOIN chosen OFFSET 0) AS chosen
	    CROSS JOIN LATERAL (
	        SELECT id, run_at, take_overs, suspended_for, waits_for
	        FROM {schema}.workflow_runs
	        WHERE ctid = chosen.at AND status IN ('pending', 'suspended') AND run_at <= (SELECT ms FROM clock)
	        FOR NO KEY UPDATE SKIP LOCKED
	    ) AS run
	), claimed AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET ` + claims + `
	    FROM clock, picked, worker
	    WHERE run.ctid = picked.at
	      AND ` + oneSuspect + `
	    RETURNING ` + claimedColumns + returning + `
	), begun AS MATERIALIZED (
	    SELECT count(*) AS n
	    FROM claimed
	), raised AS (
	    -- In this form, because it names the row by its key whatever a plan that is kept thinks of the table.
	    INSERT INTO {schema}.workflow_queue_turns AS turn (queue, seq, free_at)
	    SELECT held.queue, held.seq, coalesce(greatest(room.free_at, room.us) + room.every * begun.n, 0)
	    FROM held
	    CROSS JOIN room
	    CROSS JOIN begun
	    WHERE begun.n > 0
	    ON CONFLICT (queue) DO UPDATE
	    SET seq = turn.seq + 1, free_at = EXCLUDED.free_at
	)`
}

// waitFor is how long the rate lets the next run wait, in microseconds.
const waitFor = `coalesce(greatest(
	           greatest(room.free_at, room.us) + room.every * begun.n - room.spare - room.us, 0), 0)`
