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
	Single    bool           // as the newest claim of the queue said: it is asked as one without partitions at first
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
	          AND run_at > ` + markOf("known.n", "level.priority", "$4") + `
	          AND run_at <= (SELECT ms FROM clock)
	          AND (take_overs < 2 OR $6::boolean)`
}

// firstPartition is the first run of a workflow in a partition after one, due or not.
func firstPartition(columns, workflow, partition, mark string) string {
	return `SELECT ` + columns + `
	        FROM {schema}.workflow_runs
	        WHERE queue = $2
	          AND workflow = ` + workflow + `
	          AND partition_key > ` + partition + `
	          AND dispatched_at IS NULL
	          AND status IN ('pending', 'suspended')
	          AND run_at > ` + mark
}

// What a queue without partitions needs is a small part of what partitions need, and that a statement is large shows in what it
// costs: so the two have statements of their own. This one claims nothing when it meets a partition.
var claimQueue = pg.Define("claim_queue", `
	WITH `+queueClock+`, `+queueRoom("$2", "$5::bigint", "''")+`, known AS MATERIALIZED (
	    SELECT workflow, n
	    FROM unnest((SELECT $3::text[])) WITH ORDINALITY AS given (workflow, n)
	), split AS MATERIALIZED (
	    SELECT
	    FROM known
	    CROSS JOIN LATERAL (
	        `+firstPartition("", "known.workflow", "''", lowestMark("known.n", "$4"))+`
	        ORDER BY partition_key
	        LIMIT 1
	    ) AS run
	    LIMIT 1
	), chosen AS MATERIALIZED (
	    SELECT run.at
	    FROM unnest('`+levels+`'::smallint[]) AS level (priority)
	    CROSS JOIN LATERAL (
	        SELECT run.at
	        FROM known
	        CROSS JOIN LATERAL (
	            SELECT ctid AS at, run_at
	            `+dueRuns("''")+`
	            ORDER BY run_at
	            LIMIT (SELECT n FROM room)
	        ) AS run
	        ORDER BY run.run_at
	        LIMIT (SELECT n FROM room)
	    ) AS run
	    WHERE (SELECT n FROM room) > 0 AND NOT EXISTS (SELECT FROM split)
	    LIMIT (SELECT n FROM room)
	), `+queueTurn("false", "", "")+`
	SELECT {now_ms} AS now, coalesce(room.places <= begun.n, false) AS full, `+waitFor+` AS wait,
	       EXISTS (SELECT FROM chosen) AND NOT EXISTS (SELECT FROM held) AS missed, NOT EXISTS (SELECT FROM split) AS single,
	       claimed.*
	FROM clock
	CROSS JOIN begun
	LEFT JOIN room ON true
	LEFT JOIN claimed ON true
	ORDER BY claimed.priority, claimed.run_at, claimed.id`)

// ClaimQueue makes the worker the owner of up to Limit runs of a queue that may run now, as far as the queue's limits allow. A look
// that finds nothing to claim, or no room for it, locks and writes nothing.
func (s *Store) ClaimQueue(ctx context.Context, request QueueRequest) (claim QueueClaim, err error) {
	if request.Single {
		claim, err = s.claimQueue(ctx, claimQueue, request)
	}
	if err == nil && !claim.Single {
		claim, err = s.claimQueue(ctx, claimPartitions, request, request.After)
	}
	if err != nil {
		return QueueClaim{}, pg.Problem("claim runs of queue "+strconv.Quote(request.Queue), err)
	}
	return claim, nil
}

func (s *Store) claimQueue(ctx context.Context, query *pg.Query, request QueueRequest, after ...any) (QueueClaim, error) {
	var rows []struct {
		Now    int64          `db:"now"`
		Full   bool           `db:"full"`
		Wait   int64          `db:"wait"`
		Missed bool           `db:"missed"`
		Until  sql.NullString `db:"until"`
		More   bool           `db:"more"`
		Single bool           `db:"single"`
		Rank   sql.NullInt64  `db:"rank"`
		N      sql.NullInt64  `db:"n"`
		claimedRow
	}
	marks := marksOf([]string{request.Queue}, request.Workflows, request.Marks)
	args := []any{request.Worker, request.Queue, pg.Texts(request.Workflows), marks, int64(request.Limit), request.Suspects}
	if err := s.db.List(ctx, &rows, query, append(args, after...)...); err != nil {
		return QueueClaim{}, err
	}
	claim := QueueClaim{After: request.After}
	for _, row := range rows {
		claim.Now, claim.Full, claim.Missed, claim.Single = row.Now, row.Full, row.Missed, row.Single
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
