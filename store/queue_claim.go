package store

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// QueueRequest asks for runs of one queue that may run now.
type QueueRequest struct {
	Worker    string // who is to own them
	Queue     string
	Workflows []string
	Marks     map[Lane]int64 // as in FindRequest
	After     string         // the partition that was served last
	Limit     int            // runs at most
	Suspects  bool           // as in ClaimRequest
}

// QueueClaim is what a claim of a queue's runs found.
type QueueClaim struct {
	Now    int64 // the database's time of the look, Unix milliseconds
	Runs   []ClaimedRun
	After  string        // for the next claim
	Missed bool          // somebody else was claiming: look again soon
	Full   bool          // a limit or a pause: until a run of the queue ends, or the queue changes, there is nothing more to be done
	Wait   time.Duration // until the queue's rate allows another run; 0: it does
	More   bool          // not all partitions were looked at in this round: go on at once
	Single bool          // no run has a partition: the marks may follow what was claimed
}

// maxPartitions is how many partitions a claim looks at.
const maxPartitions = 100

// dueRuns are the runs that may be claimed of a workflow, a partition and a priority: what the index of queues is asked for, in its
// order, so that what has been claimed up to the mark is not walked. Due is what is so when the statement reads, not when its
// transaction began: else a run that was put in since, before others, would be seen and passed over. Whoever asks for the first
// ones only says so by ORDER BY: a plan for a table in which nearly all runs would do reads that instead.
func dueRuns(partition string) string {
	return `FROM {schema}.workflow_runs
	        WHERE queue = $2
	          AND workflow = known.workflow
	          AND partition_key = ` + partition + `
	          AND priority = level.priority
	          AND dispatched_at IS NULL
	          AND status IN ('pending', 'suspended')
	          AND run_at > ` + markOf("known.n", "$4") + `
	          AND run_at <= (SELECT ms FROM clock)
	          AND (take_overs < 2 OR $7::boolean)`
}

// Partitions take turns. Those that have runs are found one by one by a loose scan of the index: from the one that was served
// last on, once around, until there are as many as runs may begin. That without a name is among them, between the last and the
// first, and need not be found, so that a queue without partitions is not walked at all. A partition's runs go by priority and
// time, whatever their workflow. If there is more room than partitions, each is asked for as many as it may be given then.
var claimQueue = pg.Define("claim_queue", `
	WITH RECURSIVE `+queueClock+`, `+queueRoom("$2", "$6::bigint")+`, known AS MATERIALIZED (
	    SELECT workflow, n, partitioned.yes AS partitioned, partitioned.mark
	    FROM unnest((SELECT $3::text[])) WITH ORDINALITY AS given (workflow, n)
	    CROSS JOIN LATERAL (SELECT `+lowestMark("given.n", "$4")+` AS mark) AS lowest
	    CROSS JOIN LATERAL (
	        SELECT lowest.mark, (
	            SELECT true
	            FROM {schema}.workflow_runs
	            WHERE queue = $2 AND workflow = given.workflow AND partition_key > ''
	              AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at > lowest.mark
	            ORDER BY partition_key
	            LIMIT 1
	        ) IS NOT NULL AS yes
	    ) AS partitioned
	    WHERE (SELECT n FROM room) > 0
	), lane AS (
	    SELECT $5::text AS key, false AS wrapped, 0 AS n
	    FROM room
	    WHERE room.n > 0
	    UNION ALL
	    SELECT next.key, next.wrapped, lane.n + 1
	    FROM lane
	    CROSS JOIN LATERAL (
	        (SELECT run.partition_key AS key, lane.wrapped
	         FROM known
	         CROSS JOIN LATERAL (
	             SELECT partition_key
	             FROM {schema}.workflow_runs
	             WHERE queue = $2 AND workflow = known.workflow AND partition_key > lane.key
	               AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at > known.mark
	             ORDER BY partition_key
	             LIMIT 1
	         ) AS run
	         WHERE known.partitioned
	         ORDER BY run.partition_key
	         LIMIT 1)
	        UNION ALL
	        SELECT '', true
	        WHERE NOT lane.wrapped
	        LIMIT 1
	    ) AS next
	    WHERE lane.n <= `+strconv.Itoa(maxPartitions)+` AND (NOT next.wrapped OR next.key <= $5)
	), due AS MATERIALIZED (
	    SELECT lane.key, lane.n, free.places
	    FROM lane
	    CROSS JOIN LATERAL (
	        SELECT `+inPartition("lane.key")+` AS places
	        FROM room
	        OFFSET 0
	    ) AS free
	    CROSS JOIN LATERAL (
	        SELECT
	        FROM known
	        CROSS JOIN unnest('`+levels+`'::smallint[]) AS level (priority)
	        CROSS JOIN LATERAL (
	            SELECT
	            `+dueRuns("lane.key")+`
	            ORDER BY run_at
	            LIMIT 1
	        ) AS run
	        WHERE (known.partitioned OR lane.key = '') AND coalesce(free.places > 0, true)
	        LIMIT 1
	    ) AS head
	    WHERE lane.n BETWEEN 1 AND `+strconv.Itoa(maxPartitions)+`
	    LIMIT (SELECT n FROM room)
	), share AS MATERIALIZED (
	    SELECT room.n - count(*) + 1 AS n
	    FROM room
	    CROSS JOIN due
	    GROUP BY room.n
	), chosen AS MATERIALIZED (
	    SELECT run.id, due.n, row_number() OVER (PARTITION BY due.key ORDER BY run.priority, run.run_at, run.id) AS rank
	    FROM due
	    CROSS JOIN LATERAL (
	        SELECT run.id, level.priority, run.run_at
	        FROM unnest('`+levels+`'::smallint[]) AS level (priority)
	        CROSS JOIN LATERAL (
	            SELECT run.id, run.run_at
	            FROM known
	            CROSS JOIN LATERAL (
	                SELECT id, run_at
	                `+dueRuns("due.key")+`
	                ORDER BY run_at
	                LIMIT (SELECT n FROM share)
	            ) AS run
	            WHERE known.partitioned OR due.key = ''
	            ORDER BY run.run_at
	            LIMIT (SELECT n FROM share)
	        ) AS run
	        LIMIT least((SELECT n FROM share), due.places)
	    ) AS run
	    ORDER BY rank, due.n
	    LIMIT (SELECT n FROM room)
	), `+queueTurn("false", ", chosen.rank, chosen.n", ", picked.rank, picked.n")+`, looked AS MATERIALIZED (
	    -- That there are more partitions is asked only when these were not enough, and they are looked at at once only up to the
	    -- last one: then one round is over.
	    SELECT max(key) FILTER (WHERE n = `+strconv.Itoa(maxPartitions)+`) AS until, NOT bool_or(wrapped) AS more
	    FROM lane
	    WHERE (SELECT count(*) FROM due) < (SELECT n FROM room)
	    HAVING max(n) > `+strconv.Itoa(maxPartitions)+`
	)
	SELECT {now_ms} AS now, coalesce(`+fullAfter+`, false) AS full, `+waitFor+` AS wait,
	       EXISTS (SELECT FROM chosen) AND NOT EXISTS (SELECT FROM held) AS missed, looked.until, coalesce(looked.more, false) AS more,
	       room.n > 0 AND NOT EXISTS (SELECT FROM known WHERE partitioned) AS single,
	       claimed.*
	FROM clock
	LEFT JOIN room ON true
	LEFT JOIN looked ON true
	LEFT JOIN claimed ON true
	ORDER BY claimed.rank, claimed.n`)

// ClaimQueue makes the worker the owner of up to Limit runs of a queue that may run now, as far as the queue's limits allow. A look
// that finds nothing to claim, or no room for it, locks and writes nothing.
func (s *Store) ClaimQueue(ctx context.Context, request QueueRequest) (QueueClaim, error) {
	var rows []struct {
		Now    int64          `db:"now"`
		Full   bool           `db:"full"`
		Wait   int64          `db:"wait"`
		Missed bool           `db:"missed"`
		Until  sql.NullString `db:"until"`
		More   bool           `db:"more"`
		Single sql.NullBool   `db:"single"`
		Rank   sql.NullInt64  `db:"rank"`
		N      sql.NullInt64  `db:"n"`
		claimedRow
	}
	marks := marksOf([]string{request.Queue}, request.Workflows, request.Marks)
	err := s.db.List(ctx, &rows, claimQueue, request.Worker, request.Queue, pg.Texts(request.Workflows), marks, request.After,
		int64(request.Limit), request.Suspects)
	if err != nil {
		return QueueClaim{}, pg.Problem("claim runs of queue "+strconv.Quote(request.Queue), err)
	}
	claim := QueueClaim{After: request.After}
	for _, row := range rows {
		claim.Now, claim.Full, claim.Missed, claim.Single = row.Now, row.Full, row.Missed, row.Single.Bool
		claim.Wait, claim.More = time.Duration(row.Wait)*time.Microsecond, row.More
		if row.ID.Valid {
			claim.Runs = append(claim.Runs, row.claimed())
			claim.After = row.Partition.String
		}
		if row.Until.Valid && !claim.Missed {
			claim.After = row.Until.String
		}
	}
	return claim, nil
}
