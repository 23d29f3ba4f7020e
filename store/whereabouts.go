package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Whereabouts tells where a run is and what it waits for. Times are by the database's clock.
type Whereabouts struct {
	ID           string
	Now          time.Time // of the look
	Status       RunStatus
	Workflow     string
	Owner        Owner         // who executes it; zero: nobody does
	SuspendedFor SuspendReason // "" when it is not suspended
	WaitsFor     []string      // what makes a suspended run go on besides its time
	RunAt        time.Time     // when it may be claimed; zero: not before something comes
	BlockedAt    time.Time     // zero: it is not blocked
	Err          error         // why it is blocked, or has failed; an *Error
	InFlight     Flight        // while it is executed
	Next         NextStep      // what goes on by itself next, if anything does
	Children     Crowd         // unfinished runs that it waits for
	Workers      int           // that are alive
	Serving      int           // of them: those that know its workflow and serve its queue
	Executing    int           // runs, on these
	Ahead        int           // runs of its workflow, and of its partition, that are due before it; 1,000 at most
	Place
	Dispatched  bool       // it is left to the application's own queue
	AnnouncedAt time.Time  // there; zero: not since it was last claimed
	Room        *QueueRoom // on its queue, while it may be claimed; nil: it has none, or there is no such queue
}

// MayBeClaimed reports whether the run waits for nothing but who executes it.
func (w Whereabouts) MayBeClaimed() bool {
	return (w.Status == RunPending || w.Status == RunSuspended) && !w.RunAt.IsZero() && !w.RunAt.After(w.Now)
}

// Owner is the worker that executes a run.
type Owner struct {
	ID         string
	Host       string // "" when its row is gone, or does not say
	PID        int
	Version    string
	LeaseUntil time.Time // zero when its row is gone
}

// Flight is what a worker says of the steps of a run that have been in flight for long.
type Flight struct {
	Step  string // that has been so for longest; "": none
	Since time.Time
	Count int
}

// NextStep is the step of a run that goes on next by itself.
type NextStep struct {
	Name     string // "": none
	Kind     StepKind
	At       time.Time
	Attempts *Attempts // nil: it is no further attempt
	Err      error     // of the newest one; an *Error
}

// Crowd is a number of runs, with the ten that have stood so for longest.
type Crowd struct {
	Count int
	First []Standing
}

// Standing is how a run stands, and since when.
type Standing struct {
	RunID    string
	Workflow string
	Status   RunStatus
	Since    time.Time
}

// QueueRoom is how full a queue is.
type QueueRoom struct {
	Queue
	PausedAt    time.Time // zero: it is not paused
	Running     Crowd     // where runs of it are limited, on all workers or on each: 1,000 at most, or the limit
	InPartition Crowd     // of the same partition, where that is limited
	FullWorkers int       // of those that serve the run: those that execute as many runs of the queue as one may
	RateAt      time.Time // when its rate lets the next run begin; zero: it has none
}

type whereaboutsRow struct {
	Now          int64          `db:"now"`
	Status       RunStatus      `db:"status"`
	Workflow     string         `db:"workflow"`
	SuspendedFor sql.NullString `db:"suspended_for"`
	WaitsFor     pg.TextArray   `db:"waits_for"`
	Error        pg.JSONB       `db:"error"`
	RunAt        sql.NullInt64  `db:"run_at"`
	BlockedAt    sql.NullInt64  `db:"blocked_at"`
	DispatchedAt sql.NullInt64  `db:"dispatched_at"`
	Owner        sql.NullString `db:"owner"`
	Host         sql.NullString `db:"host"`
	PID          sql.NullInt64  `db:"pid"`
	Version      sql.NullString `db:"version"`
	LeaseUntil   sql.NullInt64  `db:"lease_until"`
	FlightStep   sql.NullString `db:"flight_step"`
	FlightSince  sql.NullInt64  `db:"flight_since"`
	Flights      int            `db:"flights"`
	NextStep     sql.NullString `db:"next_step"`
	NextKind     sql.NullString `db:"next_kind"`
	NextAt       sql.NullInt64  `db:"next_at"`
	NextAttempts pg.JSONB       `db:"next_attempts"`
	NextError    pg.JSONB       `db:"next_error"`
	Awaited      int            `db:"awaited"`
	Children     pg.JSONB       `db:"children"`
	Workers      int            `db:"workers"`
	Serving      int            `db:"serving"`
	Executing    int            `db:"executing"`
	FullWorkers  int            `db:"full_workers"`
	Ahead        int            `db:"ahead"`
	Running      int            `db:"running"`
	RunningRuns  pg.JSONB       `db:"running_runs"`
	InPartition  int            `db:"in_partition"`
	PartRuns     pg.JSONB       `db:"in_partition_runs"`
	RateAt       sql.NullInt64  `db:"rate_at"`
	placeRow
	limitsRow
}

// Whereabouts returns where a run is, or ErrRunNotFound.
func (s *Store) Whereabouts(ctx context.Context, runID string) (Whereabouts, error) {
	var row whereaboutsRow
	err := s.db.Get(ctx, &row, whereabouts, runID)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunNotFound
	}
	if err != nil {
		return Whereabouts{}, pg.Problem(fmt.Sprintf("look for run %q", runID), err)
	}
	where := row.whereabouts()
	where.ID = runID
	return where, nil
}

func (r whereaboutsRow) whereabouts() Whereabouts {
	where := Whereabouts{
		Now: time.UnixMilli(r.Now), Status: r.Status, Workflow: r.Workflow,
		Owner: Owner{
			ID: r.Owner.String, Host: r.Host.String, PID: int(r.PID.Int64), Version: r.Version.String, LeaseUntil: timeOf(r.LeaseUntil),
		},
		SuspendedFor: SuspendReason(r.SuspendedFor.String), WaitsFor: r.WaitsFor,
		RunAt: timeOf(r.RunAt), BlockedAt: timeOf(r.BlockedAt), Err: decodeError(r.Error),
		InFlight: Flight{Step: r.FlightStep.String, Since: timeOf(r.FlightSince), Count: r.Flights},
		Next: NextStep{
			Name: r.NextStep.String, Kind: StepKind(r.NextKind.String), At: timeOf(r.NextAt),
			Attempts: decodeAttempts(r.NextAttempts), Err: decodeError(r.NextError),
		},
		Children: crowdOf(r.Awaited, r.Children), Workers: r.Workers, Serving: r.Serving, Executing: r.Executing, Ahead: r.Ahead,
		Place: r.place(), Dispatched: r.DispatchedAt.Valid,
	}
	if r.DispatchedAt.Int64 > 0 {
		where.AnnouncedAt = timeOf(r.DispatchedAt)
	}
	if r.Name.Valid {
		where.Room = &QueueRoom{
			Queue: r.limits(), PausedAt: timeOf(r.PausedAt), Running: crowdOf(r.Running, r.RunningRuns),
			InPartition: crowdOf(r.InPartition, r.PartRuns), FullWorkers: r.FullWorkers,
		}
		if r.RateAt.Valid {
			where.Room.RateAt = time.UnixMicro(r.RateAt.Int64)
		}
	}
	return where
}
