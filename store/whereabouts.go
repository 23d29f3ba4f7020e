package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Whereabouts tells where a run is and what it waits for.
type Whereabouts struct {
	Status       RunStatus
	Workflow     string
	Owner        string         // the worker that executes it; "" when nobody does
	OwnerHost    string         // of that worker, if its row is still there
	OwnerPID     int            //
	OwnerAlive   bool           // its lease has not ended
	SuspendedFor SuspendReason  // "" when it is not suspended
	WaitsFor     []string       // what makes a suspended run go on besides its time
	WakeIn       *time.Duration // until it may be claimed, negative when it may already; nil: not before something comes
	DeadlineIn   *time.Duration // nil: none
	Err          error          // why it is blocked, or has failed; an *Error
	Workers      int            // that are alive
	Serving      int            // of them: those that know its workflow and serve its queue
	Place
	Dispatched bool       // it is announced on the application's own queue
	Room       *QueueRoom // on its queue; nil: it has none, or there is no such queue
}

// QueueRoom is how full a queue is.
type QueueRoom struct {
	Queue
	Paused      bool
	Running     int64 // runs
	InPartition int64 // of them: those of the same partition
}

var whereabouts = pg.DefineRead("whereabouts", `
	SELECT run.status, run.workflow, run.owner, run.suspended_for, run.waits_for, run.error,
	       run.run_at - {now_ms} AS wake_in, run.deadline_at - {now_ms} AS deadline_in,
	       owner.host, owner.pid, coalesce(owner.{alive}, false) AS owner_alive,
	       living.workers, living.serving, run.priority, run.partition_key, run.queue, run.dispatched_at IS NOT NULL AS dispatched,
	       `+columnsOf(limitsRow{})+`, busy.running, busy.in_partition
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_workers AS owner ON owner.id = run.owner
	CROSS JOIN LATERAL (
	    SELECT count(*) AS workers, count(*) FILTER (WHERE run.workflow = ANY (workflows) AND `+serves("coalesce(run.queue, '')")+`) AS serving
	    FROM {schema}.workflow_workers
	    WHERE {alive}
	) AS living
	LEFT JOIN {schema}.workflow_queues AS queue ON queue.name = run.queue
	CROSS JOIN LATERAL (
	    SELECT count(*) AS running, count(*) FILTER (WHERE partition_key = run.partition_key) AS in_partition
	    FROM {schema}.workflow_runs
	    WHERE queue = run.queue AND status = 'running'
	) AS busy
	WHERE run.id = $1`)

// Whereabouts returns where a run is, or ErrRunNotFound.
func (s *Store) Whereabouts(ctx context.Context, runID string) (Whereabouts, error) {
	var row struct {
		Status       RunStatus      `db:"status"`
		Workflow     string         `db:"workflow"`
		Owner        sql.NullString `db:"owner"`
		SuspendedFor sql.NullString `db:"suspended_for"`
		WaitsFor     pg.TextArray   `db:"waits_for"`
		Error        pg.JSONB       `db:"error"`
		WakeIn       sql.NullInt64  `db:"wake_in"`
		DeadlineIn   sql.NullInt64  `db:"deadline_in"`
		Host         sql.NullString `db:"host"`
		PID          sql.NullInt64  `db:"pid"`
		OwnerAlive   bool           `db:"owner_alive"`
		Workers      int            `db:"workers"`
		Serving      int            `db:"serving"`
		Dispatched   bool           `db:"dispatched"`
		Running      int64          `db:"running"`
		InPartition  int64          `db:"in_partition"`
		placeRow
		limitsRow
	}
	err := s.db.Get(ctx, &row, whereabouts, runID)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunNotFound
	}
	if err != nil {
		return Whereabouts{}, pg.Problem(fmt.Sprintf("look for run %q", runID), err)
	}
	where := Whereabouts{
		Status: row.Status, Workflow: row.Workflow,
		Owner: row.Owner.String, OwnerHost: row.Host.String, OwnerPID: int(row.PID.Int64), OwnerAlive: row.OwnerAlive,
		SuspendedFor: SuspendReason(row.SuspendedFor.String), WaitsFor: row.WaitsFor, WakeIn: durationOf(row.WakeIn), DeadlineIn: durationOf(row.DeadlineIn),
		Err: decodeError(row.Error), Workers: row.Workers, Serving: row.Serving,
		Place: row.place(), Dispatched: row.Dispatched,
	}
	if row.Name.Valid {
		where.Room = &QueueRoom{Queue: row.limits(), Paused: row.PausedAt.Valid, Running: row.Running, InPartition: row.InPartition}
	}
	return where, nil
}
