package store

import (
	"strconv"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// maxPartitions is how many partitions a claim looks at.
const maxPartitions = 100

// Partitions take turns. Those that have runs are found one by one by a loose scan of the index: from the one that was served
// last on, once around, until there are as many as runs may begin. That without a name is among them, between the last and the
// first, and need not be found. A partition's runs go by priority and time, whatever their workflow: so what the scan finds in a
// partition is the run that goes first, and only if that is not due yet others are looked for. If there is more room than
// partitions, each is asked for as many as it may be given then.
var claimPartitions = pg.Define("claim_partitions", `
	WITH RECURSIVE `+queueClock+`, `+queueRoom("$2", "$5::bigint", "")+`, known AS MATERIALIZED (
	    SELECT workflow, n, partitioned.yes AS partitioned, partitioned.mark
	    FROM unnest((SELECT $3::text[])) WITH ORDINALITY AS given (workflow, n)
	    CROSS JOIN LATERAL (SELECT `+lowestMark("given.n", "$4")+` AS mark OFFSET 0) AS lowest
	    CROSS JOIN LATERAL (
	        SELECT lowest.mark, (
	        `+firstPartition("true", "given.workflow", "''", "lowest.mark")+`
	            ORDER BY partition_key
	            LIMIT 1
	        ) IS NOT NULL AS yes
	    ) AS partitioned
	    WHERE (SELECT n FROM room) > 0
	), lane AS (
	    SELECT $7::text AS key, false AS wrapped, 0 AS n, NULL::tid AS at, NULL::bigint AS run_at, NULL::int AS take_overs
	    FROM room
	    WHERE room.n > 0
	    UNION ALL
	    SELECT next.key, next.wrapped, lane.n + 1, next.at, next.run_at, next.take_overs
	    FROM lane
	    CROSS JOIN LATERAL (
	        (SELECT run.key, lane.wrapped, run.at, run.run_at, run.take_overs
	         FROM known
	         CROSS JOIN LATERAL (
	         `+firstPartition("partition_key AS key, priority, run_at, id, ctid AS at, take_overs", "known.workflow", "lane.key", "known.mark")+`
	               AND run_at > `+markOf("known.n", "priority", "$4")+`
	             ORDER BY partition_key, priority, run_at
	             LIMIT 1
	         ) AS run
	         WHERE known.partitioned
	         ORDER BY run.key, run.priority, run.run_at, run.id
	         LIMIT 1)
	        UNION ALL
	        SELECT '', true, NULL, NULL, NULL
	        WHERE NOT lane.wrapped
	        LIMIT 1
	    ) AS next
	    WHERE lane.n <= `+strconv.Itoa(maxPartitions)+` AND (NOT next.wrapped OR next.key <= $7)
	), due AS MATERIALIZED (
	    SELECT lane.key, lane.n, free.places, head.at
	    FROM lane
	    CROSS JOIN LATERAL (
	        SELECT `+inPartition("room.max_per_partition", "room.name", "lane.key")+` AS places
	        FROM room
	        OFFSET 0
	    ) AS free
	    CROSS JOIN LATERAL (
	        SELECT lane.at
	        WHERE lane.run_at <= (SELECT ms FROM clock) AND (lane.take_overs < 2 OR $6::boolean)
	        UNION ALL
	        SELECT run.at
	        FROM unnest('`+levels+`'::smallint[]) AS level (priority)
	        CROSS JOIN LATERAL (
	            SELECT run.at
	            FROM known
	            CROSS JOIN LATERAL (
	                SELECT ctid AS at, id, run_at
	                `+dueRuns("lane.key")+`
	                ORDER BY run_at
	                LIMIT 1
	            ) AS run
	            WHERE known.partitioned OR lane.key = ''
	            ORDER BY run.run_at, run.id
	            LIMIT 1
	        ) AS run
	        LIMIT 1
	    ) AS head
	    WHERE lane.n BETWEEN 1 AND `+strconv.Itoa(maxPartitions)+` AND coalesce(free.places > 0, true)
	    LIMIT (SELECT n FROM room)
	), share AS MATERIALIZED (
	    SELECT room.n - count(*) + 1 AS n
	    FROM room
	    CROSS JOIN due
	    GROUP BY room.n
	), chosen AS MATERIALIZED (
	    SELECT due.at, 1::bigint AS rank, due.n
	    FROM due
	    WHERE (SELECT n FROM share) = 1
	    UNION ALL
	    (SELECT run.at, row_number() OVER (PARTITION BY due.key ORDER BY run.priority, run.run_at, run.id) AS rank, due.n
	     FROM due
	     CROSS JOIN LATERAL (
	         SELECT run.at, run.id, level.priority, run.run_at
	         FROM unnest('`+levels+`'::smallint[]) AS level (priority)
	         CROSS JOIN LATERAL (
	             SELECT run.at, run.id, run.run_at
	             FROM known
	             CROSS JOIN LATERAL (
	                 SELECT ctid AS at, id, run_at
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
	     WHERE (SELECT n FROM share) > 1
	     ORDER BY rank, due.n
	     LIMIT (SELECT n FROM room))
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
	       coalesce(room.n > 0, false) AND NOT EXISTS (SELECT FROM known WHERE partitioned) AS single,
	       claimed.*
	FROM clock
	CROSS JOIN begun
	LEFT JOIN room ON true
	LEFT JOIN looked ON true
	LEFT JOIN claimed ON true
	ORDER BY claimed.rank, claimed.n`)

// fullAfter is whether a limit has kept runs back, or will keep back the next one: until a run of the queue ends there is no room, or not for
// all partitions. A partition of which nothing was claimed, though there was room in the queue, may be such a one; it is not looked at a
// second time for that.
var fullAfter = `CASE
	           WHEN room.places <= begun.n THEN true
	           WHEN room.max_per_partition IS NULL OR room.n <= begun.n THEN false
	           ELSE ` + inPartition("room.max_per_partition", "room.name", "''") + ` <= 0
	                OR EXISTS (SELECT FROM due WHERE due.places <= (SELECT count(*) FROM claimed WHERE claimed.n = due.n))
	                OR EXISTS (SELECT FROM lane WHERE lane.n > 0 AND lane.key > '' AND NOT EXISTS (SELECT FROM due WHERE due.key = lane.key))
	       END`
