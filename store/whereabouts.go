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
	Queue        string         // where it waits for a worker; "": it has no queue
	Paused       bool           // no run of its queue begins
	Running      int            // runs of its queue, as far as MaxRunning
	MaxRunning   int            // of them on all workers; 0: any number
	Workers      int            // that are alive
	Knowing      int            // of them: those that know its workflow
	Serving      int            // of these: those that serve its queue, or runs without one
}

var whereabouts = pg.DefineRead("whereabouts", `
	SELECT run.status, run.workflow, run.owner, run.suspended_for, run.waits_for, run.error,
	       run.run_at - {now_ms} AS wake_in, run.deadline_at - {now_ms} AS deadline_in,
	       owner.host, owner.pid, coalesce(owner.{alive}, false) AS owner_alive,
	       run.queue, line.paused_at IS NOT NULL AS paused, line.max_running, busy.running,
	       living.workers, living.knowing, living.serving
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_workers AS owner ON owner.id = run.owner
	CROSS JOIN LATERAL (
	    SELECT count(*) AS workers,
	           count(*) FILTER (WHERE run.workflow = ANY (workflows)) AS knowing,
	           count(*) FILTER (WHERE run.workflow = ANY (workflows) AND `+served("coalesce(run.queue, '')")+`) AS serving
	    FROM {schema}.workflow_workers
	    WHERE {alive}
	) AS living
	LEFT JOIN {schema}.workflow_queues AS line ON line.name = run.queue
	CROSS JOIN LATERAL (
	    SELECT count(*) AS running
	    FROM (
	        SELECT
	        FROM {schema}.workflow_runs
	        WHERE queue = run.queue AND queue IS NOT NULL AND status = 'running'
	        LIMIT coalesce(line.max_running, 0)
	    ) AS some
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
		Queue        sql.NullString `db:"queue"`
		Paused       bool           `db:"paused"`
		MaxRunning   sql.NullInt64  `db:"max_running"`
		Running      int            `db:"running"`
		Workers      int            `db:"workers"`
		Knowing      int            `db:"knowing"`
		Serving      int            `db:"serving"`
	}
	err := s.db.Get(ctx, &row, whereabouts, runID)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunNotFound
	}
	if err != nil {
		return Whereabouts{}, pg.Problem(fmt.Sprintf("look for run %q", runID), err)
	}
	return Whereabouts{
		Status: row.Status, Workflow: row.Workflow,
		Owner: row.Owner.String, OwnerHost: row.Host.String, OwnerPID: int(row.PID.Int64), OwnerAlive: row.OwnerAlive,
		SuspendedFor: SuspendReason(row.SuspendedFor.String), WaitsFor: row.WaitsFor, WakeIn: durationOf(row.WakeIn), DeadlineIn: durationOf(row.DeadlineIn),
		Err: decodeError(row.Error), Queue: row.Queue.String, Paused: row.Paused, Running: row.Running, MaxRunning: int(row.MaxRunning.Int64),
		Workers: row.Workers, Knowing: row.Knowing, Serving: row.Serving,
	}, nil
}
