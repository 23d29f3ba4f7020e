package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/lock"
)

// Queue is what bounds the runs of one name. No claim ever locks what is written here: it holds for claims that begin after the
// commit, however long the transaction stays open.
type Queue struct {
	Name            string
	MaxRunning      int           // runs that are running at once, on all workers; 0: any number
	MaxPerWorker    int           // of them on one worker; 0: any number
	MaxPerPartition int           // of them of one partition; 0: any number
	RateCount       int           // runs that begin in each RateWindow, evenly spread; 0: as many as there are
	RateWindow      time.Duration // to the millisecond
	RateBurst       int           // runs that may begin at once after a pause. Defaults to 1 where there is a rate
}

// QueueState is a queue as it stands.
type QueueState struct {
	Queue
	PausedAt  time.Time // zero: it is not paused
	CreatedAt time.Time
	UpdatedAt time.Time
	Running   int64         // runs
	Waiting   int64         // runs that may be claimed
	Lag       time.Duration // for how long the oldest of these has been waiting; 0: there is none
	AtLeast   bool          // there may be more of them than were looked at
}

// queueColumns are what a queueRow is scanned from.
var queueColumns = columnsOf(queueRow{})

type queueRow struct {
	limitsRow
	CreatedAt int64 `db:"created_at"`
	UpdatedAt int64 `db:"updated_at"`
}

// Where a run's queue is looked for, there may be none.
type limitsRow struct {
	Name            sql.NullString `db:"name"`
	MaxRunning      sql.NullInt64  `db:"max_running"`
	MaxPerWorker    sql.NullInt64  `db:"max_per_worker"`
	MaxPerPartition sql.NullInt64  `db:"max_per_partition"`
	RateCount       sql.NullInt64  `db:"rate_count"`
	RateWindow      sql.NullInt64  `db:"rate_window"`
	RateBurst       sql.NullInt64  `db:"rate_burst"`
	PausedAt        sql.NullInt64  `db:"paused_at"`
}

func (r limitsRow) limits() Queue {
	return Queue{
		Name: r.Name.String, MaxRunning: int(r.MaxRunning.Int64), MaxPerWorker: int(r.MaxPerWorker.Int64),
		MaxPerPartition: int(r.MaxPerPartition.Int64), RateCount: int(r.RateCount.Int64),
		RateWindow: time.Duration(r.RateWindow.Int64) * time.Millisecond, RateBurst: int(r.RateBurst.Int64),
	}
}

// insertQueue makes a queue and its turn.
const insertQueue = `
	WITH ` + clockClause + `, turn AS (
	    INSERT INTO {schema}.workflow_queue_turns (queue, seq)
	    SELECT $1, 0
	    FROM clock
	    ON CONFLICT (queue) DO NOTHING
	)
	INSERT INTO {schema}.workflow_queues
	    (name, max_running, max_per_worker, max_per_partition, rate_count, rate_window, rate_burst, created_at, updated_at)
	SELECT $1, $2::int, $3::int, $4::int, $5::int, $6::bigint, $7::int, clock.ms, clock.ms
	FROM clock`

var setQueue = pg.Define("set_queue", insertQueue+`
	ON CONFLICT (name) DO UPDATE
	SET max_running = EXCLUDED.max_running, max_per_worker = EXCLUDED.max_per_worker,
	    max_per_partition = EXCLUDED.max_per_partition, rate_count = EXCLUDED.rate_count, rate_window = EXCLUDED.rate_window,
	    rate_burst = EXCLUDED.rate_burst, updated_at = EXCLUDED.updated_at`)

// SetQueue makes a queue, or changes all limits of one. Whether it is paused stays.
func (s *Store) SetQueue(ctx context.Context, q Queue) error {
	_, err := s.writeSetting(ctx, setQueue, q.arguments()...)
	return pg.Problem(fmt.Sprintf("set queue %q", q.Name), err)
}

var ensureQueue = pg.Define("ensure_queue", insertQueue+`
	ON CONFLICT (name) DO NOTHING`)

// EnsureQueue makes a queue if there is none of this name, and else changes nothing and waits for nobody.
func (s *Store) EnsureQueue(ctx context.Context, q Queue) error {
	there, err := s.hasQueue(ctx, q.Name)
	if err == nil && !there {
		_, err = s.writeSetting(ctx, ensureQueue, q.arguments()...)
	}
	return pg.Problem(fmt.Sprintf("ensure queue %q", q.Name), err)
}

func (q Queue) arguments() []any {
	window, burst := 0, 0
	if q.RateCount > 0 {
		window, burst = int(q.RateWindow.Milliseconds()), max(q.RateBurst, 1)
	}
	return []any{
		q.Name, number(q.MaxRunning), number(q.MaxPerWorker), number(q.MaxPerPartition),
		number(q.RateCount), number(window), number(burst),
	}
}

var pauseQueue = pg.Define("pause_queue", `
	WITH `+clockClause+`
	UPDATE {schema}.workflow_queues
	SET paused_at = coalesce(paused_at, clock.ms), updated_at = clock.ms
	FROM clock
	WHERE name = $1`)

// PauseQueue keeps runs of a queue from beginning; those that are running go on. ErrQueueNotFound.
func (s *Store) PauseQueue(ctx context.Context, name string) error {
	return pg.Problem(fmt.Sprintf("pause queue %q", name), s.moveQueue(ctx, pauseQueue, name))
}

var resumeQueue = pg.Define("resume_queue", `
	WITH `+clockClause+`
	UPDATE {schema}.workflow_queues
	SET paused_at = NULL, updated_at = clock.ms
	FROM clock
	WHERE name = $1`)

// ResumeQueue ends a pause. ErrQueueNotFound.
func (s *Store) ResumeQueue(ctx context.Context, name string) error {
	return pg.Problem(fmt.Sprintf("resume queue %q", name), s.moveQueue(ctx, resumeQueue, name))
}

func (s *Store) moveQueue(ctx context.Context, query *pg.Query, name string) error {
	n, err := s.writeSetting(ctx, query, name)
	if err == nil && n == 0 {
		err = ErrQueueNotFound
	}
	return err
}

// writeSetting writes a queue, or a schedule, and may wait for somebody else who does: in a caller's transaction no longer than the bound.
func (s *Store) writeSetting(ctx context.Context, query *pg.Query, args ...any) (n int64, err error) {
	if s.db.Tx() == nil {
		return s.db.Exec(ctx, query, args...)
	}
	err = lock.Within(ctx, s.db.Tx(), s.opts.LockTimeout, func(ctx context.Context) (err error) {
		n, err = s.db.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

var hasQueue = pg.DefineRead("has_queue", `
	SELECT true
	FROM {schema}.workflow_queues
	WHERE name = $1`)

// HasQueue reports whether there is a queue of this name.
func (s *Store) HasQueue(ctx context.Context, name string) (bool, error) {
	there, err := s.hasQueue(ctx, name)
	return there, pg.Problem(fmt.Sprintf("look for queue %q", name), err)
}

func (s *Store) hasQueue(ctx context.Context, name string) (there bool, err error) {
	err = s.db.Get(ctx, &there, hasQueue, name)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return there, err
}

// All that is running or may be claimed is counted: a scan of an index for each queue, which is for people, not for claims.
func readQueues(condition string) string {
	return `
	SELECT ` + queueColumns + `, busy.running, due.waiting, coalesce({now_ms} - due.oldest, 0) AS lag
	FROM {schema}.workflow_queues AS queue
	CROSS JOIN LATERAL (
	    SELECT count(*) AS running
	    FROM {schema}.workflow_runs
	    WHERE queue = queue.name AND status = 'running'
	    OFFSET 0
	) AS busy
	CROSS JOIN LATERAL (
	    SELECT count(*) AS waiting, min(run_at) AS oldest
	    FROM {schema}.workflow_runs
	    WHERE queue = queue.name AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at <= {now_ms}
	    OFFSET 0
	) AS due
	` + condition
}

type queueStateRow struct {
	queueRow
	Running int64 `db:"running"`
	Waiting int64 `db:"waiting"`
	Lag     int64 `db:"lag"`
}

func (r queueStateRow) state() QueueState {
	return QueueState{
		Queue: r.limits(), PausedAt: timeOf(r.PausedAt), CreatedAt: time.UnixMilli(r.CreatedAt), UpdatedAt: time.UnixMilli(r.UpdatedAt),
		Running: r.Running, Waiting: r.Waiting, Lag: time.Duration(r.Lag) * time.Millisecond,
	}
}

var getQueue = pg.DefineRead("get_queue", readQueues("WHERE name = $1"))

// GetQueue returns a queue with what is on it; ErrQueueNotFound.
func (s *Store) GetQueue(ctx context.Context, name string) (QueueState, error) {
	var row queueStateRow
	err := s.db.Get(ctx, &row, getQueue, name)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrQueueNotFound
	}
	if err != nil {
		return QueueState{}, pg.Problem(fmt.Sprintf("get queue %q", name), err)
	}
	return row.state(), nil
}

var listQueues = pg.DefineRead("list_queues", readQueues("ORDER BY name"))

// ListQueues returns all queues by name.
func (s *Store) ListQueues(ctx context.Context) ([]QueueState, error) {
	var rows []queueStateRow
	if err := s.db.List(ctx, &rows, listQueues); err != nil {
		return nil, pg.Problem("list queues", err)
	}
	queues := make([]QueueState, len(rows))
	for i, row := range rows {
		queues[i] = row.state()
	}
	return queues, nil
}
