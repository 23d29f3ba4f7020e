package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/lock"
)

// RunStatus is where a run stands.
type RunStatus string

// The statuses of a run.
const (
	RunPending   RunStatus = "pending"   // waits for a worker
	RunRunning   RunStatus = "running"   // is executed by its owner, or by hand when it has none
	RunSuspended RunStatus = "suspended" // waits for a time or an event
	RunCompleted RunStatus = "completed" // returned an output
	RunFailed    RunStatus = "failed"    // returned an error
	RunCancelled RunStatus = "cancelled" // was stopped from outside
)

// Valid reports whether s is one of the statuses above.
func (s RunStatus) Valid() bool {
	switch s {
	case RunPending, RunRunning, RunSuspended, RunCompleted, RunFailed, RunCancelled:
		return true
	default:
		return false
	}
}

// Finished reports whether s is terminal: completed, failed or cancelled.
func (s RunStatus) Finished() bool {
	return s == RunCompleted || s == RunFailed || s == RunCancelled
}

// Run is one execution of a workflow, as its row stands. Payloads are equal to what was written as JSON, not byte for
// byte: PostgreSQL normalises JSONB.
type Run struct {
	ID        string
	Workflow  string
	Status    RunStatus
	Input     json.RawMessage
	Output    json.RawMessage // nil: none recorded
	Err       error           // nil, or an *Error
	Owner     string          // the worker that executes the run; "" when nobody does
	RunAt     time.Time       // when a worker may claim the run; zero: never
	CreatedAt time.Time       // by the database's clock, to the millisecond
	UpdatedAt time.Time
}

// DecodeInput stores the input in the value that v points to, as [json.Unmarshal] does.
func (r Run) DecodeInput(v any) error { return decode("input of run", r.ID, r.Input, v) }

// DecodeOutput stores the output in the value that v points to, as [json.Unmarshal] does. It is an error when none was
// recorded.
func (r Run) DecodeOutput(v any) error { return decode("output of run", r.ID, r.Output, v) }

func decode(what, id string, payload json.RawMessage, v any) error {
	if payload == nil {
		return fmt.Errorf("workflow: decode %s %q: none is recorded", what, id)
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("workflow: decode %s %q: %w", what, id, err)
	}
	return nil
}

type runRow struct {
	ID        string         `db:"id"`
	Workflow  string         `db:"workflow"`
	Status    RunStatus      `db:"status"`
	Input     jsonb          `db:"input"`
	Output    jsonb          `db:"output"`
	Error     jsonb          `db:"error"`
	Owner     sql.NullString `db:"owner"`
	RunAt     sql.NullInt64  `db:"run_at"`
	CreatedAt int64          `db:"created_at"`
	UpdatedAt int64          `db:"updated_at"`
}

func (r runRow) run() Run {
	run := Run{
		ID: r.ID, Workflow: r.Workflow, Status: r.Status,
		Input: json.RawMessage(r.Input), Output: json.RawMessage(r.Output), Err: decodeError(r.Error),
		Owner:     r.Owner.String,
		CreatedAt: time.UnixMilli(r.CreatedAt), UpdatedAt: time.UnixMilli(r.UpdatedAt),
	}
	if r.RunAt.Valid {
		run.RunAt = time.UnixMilli(r.RunAt.Int64)
	}
	return run
}

// NewRun is what [Store.CreateRun] writes, and a [Write] of the engine.
type NewRun struct {
	ID       string
	Workflow string
	Input    json.RawMessage
	Delay    time.Duration // before it may be claimed
	Deadline time.Duration // from its creation on; 0: none
	Owner    string        // the worker that starts it at once, under epoch 1; "": whoever claims it. Not for CreateRun
}

// The gate is open when the statement is sent alone. In a caller's transaction it is an advisory lock on the id, so that
// this does not wait here, without a bound, for another open transaction that creates or deletes the same run.
var createRun = define(`
	INSERT INTO {schema}.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, deadline_at)
	SELECT $1::text, $2::text, 'pending', $3::jsonb, clock.ms, clock.ms,
	       least(clock.ms + $5::bigint, clock.ms + $6::bigint), clock.ms + $6::bigint
	FROM (SELECT {clock_ms} AS ms) AS clock
	WHERE {gate}
	ON CONFLICT (id) DO NOTHING
	RETURNING id, workflow, status, input, output, error, owner, run_at, created_at, updated_at`)

var findRun = define(`
	SELECT id, workflow, status, input, output, error, owner, run_at, created_at, updated_at,
	       workflow = $2 AND input = $3::jsonb AS same
	FROM {schema}.workflow_runs
	WHERE id = $1`)

// CreateRun inserts a pending run, or returns the one that has this id already, if it has the same workflow and input;
// else ErrRunConflict.
func (s *Store) CreateRun(ctx context.Context, run NewRun) (Run, error) {
	row, err := s.createRun(ctx, run)
	if err != nil {
		return Run{}, problem(fmt.Sprintf("create run %q", run.ID), err)
	}
	return row.run(), nil
}

func (s *Store) createRun(ctx context.Context, run NewRun) (runRow, error) {
	// A second round is only needed when the run in the way was deleted before it could be read.
	for range 3 {
		row, err := s.insertRun(ctx, run)
		if !errors.Is(err, sql.ErrNoRows) {
			return row, err
		}
		var found struct {
			runRow
			Same bool `db:"same"`
		}
		err = s.get(ctx, &found, findRun, run.ID, run.Workflow, argument(run.Input))
		if err == nil && !found.Same {
			return runRow{}, ErrRunConflict
		}
		if err == nil {
			return found.runRow, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return runRow{}, err
		}
	}
	return runRow{}, errors.New("other callers create and delete a run with this id at the same time")
}

// insertRun returns sql.ErrNoRows when a run with this id exists.
func (s *Store) insertRun(ctx context.Context, run NewRun) (runRow, error) {
	key := s.gate(run.ID)
	insert := func(ctx context.Context) (runRow, error) {
		var row runRow
		err := s.get(ctx, &row, createRun, run.ID, run.Workflow, argument(run.Input), int64(key),
			run.Delay.Milliseconds(), run.deadline())
		if err != nil { // a call that was left behind may still write to row
			return runRow{}, err
		}
		return row, nil
	}
	row, err := insert(ctx)
	if s.tx == nil || !errors.Is(err, sql.ErrNoRows) {
		return row, err
	}

	// Either the run exists, or the gate was closed: wait for who closed it.
	if err := lock.AcquireWithin(ctx, s.tx.Tx, key, s.opts.LockTimeout); err != nil {
		return runRow{}, err
	}
	return insert(ctx)
}

func (s *Store) gate(runID string) lock.Key {
	return lock.NewKey(lockNamespace, s.opts.Schema, "gate", runID)
}

// As for a claim, only who has a lease may own the run; else it waits for a claim.
var startRun = define(`
	INSERT INTO {schema}.workflow_runs
	    (id, workflow, status, input, created_at, updated_at, owner, epoch, run_at, deadline_at)
	SELECT $1::text, $2::text, CASE WHEN at.owner IS NULL THEN 'pending' ELSE 'running' END, $3::jsonb, at.ms, at.ms,
	       at.owner, CASE WHEN at.owner IS NULL THEN 0 ELSE 1 END,
	       CASE WHEN at.owner IS NULL THEN least(at.ms + $5::bigint, at.ms + $6::bigint) END, at.ms + $6::bigint
	FROM (SELECT {clock_ms} AS ms,
	             (SELECT id FROM {schema}.workflow_workers WHERE id = $4::text AND expires_at > {now_ms}) AS owner) AS at
	ON CONFLICT (id) DO NOTHING`)

// row implements [Write].
func (r NewRun) row() []any {
	row := []any{r.ID, r.Workflow, argument(r.Input), nil, r.Delay.Milliseconds(), r.deadline()}
	if r.Owner != "" {
		row[3] = r.Owner
	}
	return row
}

func (r NewRun) deadline() any {
	if r.Deadline == 0 {
		return nil
	}
	return r.Deadline.Milliseconds()
}

var getRun = define(`
	SELECT id, workflow, status, input, output, error, owner, run_at, created_at, updated_at
	FROM {schema}.workflow_runs
	WHERE id = $1`)

// GetRun returns a run, or ErrRunNotFound.
func (s *Store) GetRun(ctx context.Context, id string) (Run, error) {
	var row runRow
	err := s.get(ctx, &row, getRun, id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunNotFound
	}
	if err != nil {
		return Run{}, problem(fmt.Sprintf("get run %q", id), err)
	}
	return row.run(), nil
}

var deleteRun = define(`
	WITH run AS (
	    SELECT id, owner IS NOT NULL AS owned
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {delete}
	), deleted AS (
	    -- The foreign key takes the steps along.
	    DELETE FROM {schema}.workflow_runs
	    USING run
	    WHERE workflow_runs.id = run.id AND NOT run.owned
	)
	SELECT owned FROM run`)

// DeleteRun deletes a run and its steps; ErrRunNotFound, or ErrRunOwned while a worker executes it.
func (s *Store) DeleteRun(ctx context.Context, id string) error {
	return problem(fmt.Sprintf("delete run %q", id), s.deleteRun(ctx, id))
}

func (s *Store) deleteRun(ctx context.Context, id string) error {
	if s.tx != nil {
		if err := lock.AcquireWithin(ctx, s.tx.Tx, s.gate(id), s.opts.LockTimeout); err != nil {
			return err
		}
	}
	var owned bool
	err := s.guardedBy(ctx, lockRowToDelete, &owned, deleteRun, id)
	if err == nil && owned {
		err = ErrRunOwned
	}
	return err
}
