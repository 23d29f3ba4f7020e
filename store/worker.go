package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// What follows is the engine's side: workers and their leases, and what moves runs between owners. Every statement that
// takes a run from somebody raises its epoch.

// Worker is a process that executes runs.
type Worker struct {
	ID        string
	Version   string // of the application, as it calls itself
	Host      string
	PID       int
	Workflows []string // that it knows
	Queues    []string // that it serves; none: all, and runs without a queue
}

var registerWorker = pg.Define("register_worker", `
	WITH `+clockClause+`
	INSERT INTO {schema}.workflow_workers (id, expires_at, started_at, pid, host, version, workflows, queues)
	SELECT $1, clock.ms + $2::bigint, clock.ms, $3::int, $4::text, $5::text, $6::text[], $7::text[]
	FROM clock`)

// RegisterWorker gives a new worker a lease.
func (s *Store) RegisterWorker(ctx context.Context, w Worker, lease time.Duration) error {
	var queues any
	if len(w.Queues) > 0 {
		queues = pg.Texts(w.Queues)
	}
	_, err := s.db.Exec(ctx, registerWorker, w.ID, lease.Milliseconds(), number(w.PID), text(w.Host), text(w.Version), pg.Texts(w.Workflows), queues)
	return pg.Problem("register worker", err)
}

// Beat is what a worker says with its heartbeat.
type Beat struct {
	ID        string
	Lease     time.Duration
	Workflows []string
	Held      []Owned       // the runs that it executes
	Hanging   []HangingStep // steps that have been in flight for longer than one interval
}

// Pulse is what a heartbeat tells the worker.
type Pulse struct {
	Alive      bool          // it had a lease still, which is renewed; one that has ended is never revived
	Lost       []Owned       // of the runs that it holds
	Workers    int           // that are alive, itself included
	NextExpiry time.Duration // until the next lease of another living worker ends; 0: there is none
}

// The runs that are held are looked up by id: a scan by owner would walk all that have passed under an old snapshot.
var heartbeat = pg.Define("heartbeat", `
	WITH `+clockClause+`, worker AS (
	    UPDATE {schema}.workflow_workers
	    SET expires_at = clock.ms + $2::bigint,
	        workflows = $3::text[],
	        hanging = (
	            SELECT jsonb_agg(jsonb_build_object('run_id', run_id, 'step', step, 'since', clock.ms - took))
	            FROM unnest((SELECT $6::text[]), (SELECT $7::text[]), (SELECT $8::bigint[])) AS said (run_id, step, took)
	        )
	    FROM clock
	    WHERE id = $1 AND {alive}
	    RETURNING id
	), lost AS (
	    SELECT held.id, held.epoch
	    FROM unnest((SELECT $4::text[]), (SELECT $5::bigint[])) AS held (id, epoch)
	    LEFT JOIN LATERAL (
	        SELECT true AS ours
	        FROM {schema}.workflow_runs
	        WHERE id = held.id AND epoch = held.epoch AND status = 'running'
	        OFFSET 0
	    ) AS run ON true
	    WHERE run.ours IS NULL
	), others AS (
	    SELECT count(*) AS workers, min(expires_at) - {now_ms} AS next_expiry
	    FROM {schema}.workflow_workers
	    WHERE id <> $1 AND {alive}
	)
	SELECT others.workers, others.next_expiry, lost.id, lost.epoch
	FROM worker
	CROSS JOIN others
	LEFT JOIN lost ON true`)

// Heartbeat renews a worker's lease, if it still has one, and reports which of the runs that it holds are no longer its own.
func (s *Store) Heartbeat(ctx context.Context, b Beat) (Pulse, error) {
	ids, epochs := runs(b.Held)
	hangingIn, hangs, took := hanging(b.Hanging)
	var rows []struct {
		Workers    int            `db:"workers"`
		NextExpiry sql.NullInt64  `db:"next_expiry"`
		RunID      sql.NullString `db:"id"`
		Epoch      sql.NullInt64  `db:"epoch"`
	}
	err := s.db.List(ctx, &rows, heartbeat,
		b.ID, b.Lease.Milliseconds(), pg.Texts(b.Workflows), ids, epochs, hangingIn, hangs, took)
	if err != nil {
		return Pulse{}, pg.Problem("heartbeat", err)
	}
	var pulse Pulse
	for _, row := range rows {
		pulse.Alive, pulse.Workers = true, row.Workers+1
		pulse.NextExpiry = time.Duration(row.NextExpiry.Int64) * time.Millisecond
		if row.RunID.Valid {
			pulse.Lost = append(pulse.Lost, Owned{RunID: row.RunID.String, Epoch: row.Epoch.Int64})
		}
	}
	return pulse, nil
}

var ownedRuns = pg.DefineRead("owned_runs", `
	SELECT id, epoch
	FROM {schema}.workflow_runs
	WHERE owner = $1`)

// OwnedRuns returns the runs that a worker owns, also those that it does not know of, because the answer to its claim
// was lost.
func (s *Store) OwnedRuns(ctx context.Context, worker string) ([]Owned, error) {
	var rows []struct {
		RunID string `db:"id"`
		Epoch int64  `db:"epoch"`
	}
	if err := s.db.List(ctx, &rows, ownedRuns, worker); err != nil {
		return nil, pg.Problem("list owned runs", err)
	}
	owned := make([]Owned, len(rows))
	for i, row := range rows {
		owned[i] = Owned(row)
	}
	return owned, nil
}

// A run that somebody else has locked is left to be taken over.
var releaseRuns = pg.Define("release_runs", `
	WITH `+clockClause+`, free AS MATERIALIZED (
	    SELECT id
	    FROM {schema}.workflow_runs
	    WHERE owner = $1
	    FOR NO KEY UPDATE SKIP LOCKED
	)
	UPDATE {schema}.workflow_runs AS run
	SET status = 'pending', owner = NULL, epoch = run.epoch + 1, run_at = clock.ms, updated_at = clock.ms
	FROM clock, free
	WHERE run.id = free.id`)

var endLease = pg.Define("end_lease", `
	WITH `+clockClause+`
	UPDATE {schema}.workflow_workers
	SET expires_at = clock.ms
	FROM clock
	WHERE id = $1`)

// ReleaseWorker ends a worker's lease and hands its runs back. It returns how many there were. The worker's row stays, as
// a dead worker's does: else nobody could take over the runs of a claim of it that is still under way in the server.
func (s *Store) ReleaseWorker(ctx context.Context, id string) (released int64, err error) {
	if _, err = s.db.Exec(ctx, endLease, id); err == nil {
		released, err = s.db.Exec(ctx, releaseRuns, id)
	}
	return released, pg.Problem("release worker", err)
}
