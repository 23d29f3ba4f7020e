package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// WorkerState is a worker as its row stands: alive, stopped or dead, until it is forgotten.
type WorkerState struct {
	Worker
	StartedAt  time.Time // by the database's clock, as the next ones
	LeaseUntil time.Time
	Alive      bool // its lease has not ended
	Executing  int  // runs that it owns, counted up to 1,000
	InFlight   int  // steps that it has published as in flight for long
}

// How many runs a worker owns is counted by an index, and no further than anybody has to know. Those that live come first.
var listWorkers = pg.DefineRead("list_workers", `
	SELECT worker.id, worker.version, worker.host, worker.pid, worker.workflows, worker.queues, worker.started_at, worker.expires_at,
	       worker.{alive} AS alive, held.executing, coalesce(jsonb_array_length(worker.hanging), 0) AS in_flight
	FROM {schema}.workflow_workers AS worker
	CROSS JOIN LATERAL (
	    SELECT count(*) AS executing
	    FROM (
	        SELECT
	        FROM {schema}.workflow_runs
	        WHERE owner = worker.id
	        LIMIT 1000
	    ) AS run
	) AS held
	ORDER BY worker.{alive} DESC, worker.started_at, worker.id
	LIMIT 1000`)

// ListWorkers returns the workers whose rows are there, those that live first: at most 1,000.
func (s *Store) ListWorkers(ctx context.Context) ([]WorkerState, error) {
	var rows []struct {
		ID        string         `db:"id"`
		Version   sql.NullString `db:"version"`
		Host      sql.NullString `db:"host"`
		PID       sql.NullInt64  `db:"pid"`
		Workflows pg.TextArray   `db:"workflows"`
		Queues    pg.TextArray   `db:"queues"`
		StartedAt int64          `db:"started_at"`
		ExpiresAt int64          `db:"expires_at"`
		Alive     bool           `db:"alive"`
		Executing int            `db:"executing"`
		InFlight  int            `db:"in_flight"`
	}
	if err := s.db.List(ctx, &rows, listWorkers); err != nil {
		return nil, pg.Problem("list workers", err)
	}
	workers := make([]WorkerState, len(rows))
	for i, row := range rows {
		workers[i] = WorkerState{
			Worker: Worker{
				ID: row.ID, Version: row.Version.String, Host: row.Host.String, PID: int(row.PID.Int64),
				Workflows: row.Workflows, Queues: row.Queues,
			},
			StartedAt: time.UnixMilli(row.StartedAt), LeaseUntil: time.UnixMilli(row.ExpiresAt), Alive: row.Alive,
			Executing: row.Executing, InFlight: row.InFlight,
		}
	}
	return workers, nil
}
