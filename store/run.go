package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
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
	ID           string
	Workflow     string
	Status       RunStatus
	SuspendedFor SuspendReason // "" unless suspended
	WaitsFor     []string      // what makes a suspended run go on besides RunAt: see WaitsForSignal and WaitsForStep
	Input        json.RawMessage
	Output       json.RawMessage // nil: none recorded
	Err          error           // nil, or an *Error: why it failed, or what blocks it or last blocked it
	Owner        string          // the worker that executes the run; "" when nobody does
	Version      string          // of the application that started it, as it calls itself; "" when it does not
	ParentID     string          // the run that started it; "": none did
	ParentStep   string          // the step of its parent that waits for it; "": none does
	RunAt        time.Time       // when a worker may claim the run; zero: never
	BlockedAt    time.Time       // when it was first blocked, without a new step since; zero: it is not blocked
	CreatedAt    time.Time       // by the database's clock, to the millisecond
	UpdatedAt    time.Time
}

// runColumns are the columns of a runRow.
var runColumns = columnsOf(runRow{})

// columnsOf lists the columns that a row is scanned from, by its tags.
func columnsOf(row any) string {
	t := reflect.TypeOf(row)
	columns := make([]string, t.NumField())
	for i := range columns {
		columns[i] = t.Field(i).Tag.Get("db")
	}
	return strings.Join(columns, ", ")
}

type runRow struct {
	ID           string         `db:"id"`
	Workflow     string         `db:"workflow"`
	Status       RunStatus      `db:"status"`
	Input        pg.JSONB       `db:"input"`
	Output       pg.JSONB       `db:"output"`
	Error        pg.JSONB       `db:"error"`
	Owner        sql.NullString `db:"owner"`
	Version      sql.NullString `db:"version"`
	SuspendedFor sql.NullString `db:"suspended_for"`
	WaitsFor     pg.TextArray   `db:"waits_for"`
	ParentID     sql.NullString `db:"parent_id"`
	ParentStep   sql.NullString `db:"parent_step"`
	BlockedAt    sql.NullInt64  `db:"blocked_at"`
	RunAt        sql.NullInt64  `db:"run_at"`
	CreatedAt    int64          `db:"created_at"`
	UpdatedAt    int64          `db:"updated_at"`
}

func (r runRow) run() Run {
	run := Run{
		ID: r.ID, Workflow: r.Workflow, Status: r.Status,
		Input: json.RawMessage(r.Input), Output: json.RawMessage(r.Output), Err: decodeError(r.Error),
		Owner: r.Owner.String, Version: r.Version.String, ParentID: r.ParentID.String, ParentStep: r.ParentStep.String,
		SuspendedFor: SuspendReason(r.SuspendedFor.String), WaitsFor: r.WaitsFor, RunAt: timeOf(r.RunAt),
		CreatedAt: time.UnixMilli(r.CreatedAt), UpdatedAt: time.UnixMilli(r.UpdatedAt),
	}
	if run.SuspendedFor == ForBlocked { // a run that is tried again keeps its time
		run.BlockedAt = timeOf(r.BlockedAt)
	}
	return run
}

// NewRun is what [Store.CreateRun] writes, and a [Write] of the engine.
type NewRun struct {
	ID       string
	Workflow string
	Version  string // of the application, as it calls itself
	Input    json.RawMessage
	Delay    time.Duration // before it may be claimed
	Deadline time.Duration // from its creation on; 0: none
	Owner    string        // the worker that starts it at once, under epoch 1; "": whoever claims it. Not for CreateRun
	Gate     *lock.Key     // [Store.Gate] of an id that others may create too, so that this does not wait for them: to be written alone; nil: nobody will
}

func (NewRun) kind() int   { return startKind }
func (r NewRun) size() int { return len(r.Input) }

func (r NewRun) fill(row *fields) {
	row.text(r.ID)
	row.text(r.Workflow)
	row.textOrNull(r.Version)
	row.json(r.Input)
	row.textOrNull(r.Owner)
	row.number(r.Delay.Milliseconds())
	if r.Deadline != 0 {
		row.number(r.Deadline.Milliseconds())
	} else {
		row.null()
	}
	if r.Gate != nil {
		row.number(int64(*r.Gate))
	} else {
		row.null()
	}
}

// Gate returns the lock that stands for a run's id. Whoever creates or deletes a run in a transaction of the caller's takes
// it, so that nobody else has to wait, without a bound, for that transaction to end.
func (s *Store) Gate(runID string) *lock.Key {
	key := lock.NewKey(lockNamespace, s.opts.Schema, "gate", runID)
	return &key
}

// It is a start, as [kinds] defines it, that answers with the run.
var createRun = pg.Define("create_run", aloneText(kinds[startKind])+"\nRETURNING "+runColumns)

// CreateRun inserts a pending run, or returns the one that has this id already, if it has the same workflow and input;
// else ErrRunConflict.
func (s *Store) CreateRun(ctx context.Context, run NewRun) (Run, error) {
	created, err := s.createRun(ctx, run)
	if err != nil {
		return Run{}, pg.Problem(fmt.Sprintf("create run %q", run.ID), err)
	}
	return created, nil
}

func (s *Store) createRun(ctx context.Context, run NewRun) (Run, error) {
	// A second round is only needed when the run in the way was deleted before it could be read.
	for range 3 {
		row, err := s.insertRun(ctx, run)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return row.run(), err
		}
		err = s.db.Get(ctx, &row, getRun, run.ID)
		if err == nil && (row.Workflow != run.Workflow || !sameJSON(json.RawMessage(row.Input), run.Input)) {
			return Run{}, ErrRunConflict
		}
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return row.run(), err
		}
	}
	return Run{}, errors.New("other callers create and delete a run with this id at the same time")
}

// insertRun returns sql.ErrNoRows when a run with this id exists.
func (s *Store) insertRun(ctx context.Context, run NewRun) (runRow, error) {
	run.Owner, run.Gate = "", nil
	if s.db.Tx() != nil {
		run.Gate = s.Gate(run.ID)
	}
	insert := func(ctx context.Context) (runRow, error) {
		var row runRow
		if err := s.db.Get(ctx, &row, createRun, arguments(run)...); err != nil { // a call that was left behind may still write to row
			return runRow{}, err
		}
		return row, nil
	}
	row, err := insert(ctx)
	if s.db.Tx() == nil || !errors.Is(err, sql.ErrNoRows) {
		return row, err
	}

	// Either the run exists, or the gate was closed: wait for who closed it.
	if err := lock.AcquireWithin(ctx, s.db.Tx(), *run.Gate, s.opts.LockTimeout); err != nil {
		return runRow{}, err
	}
	return insert(ctx)
}

var getRun = pg.DefineRead("get_run", `
	SELECT `+runColumns+`
	FROM {schema}.workflow_runs
	WHERE id = $1`)

// GetRun returns a run, or ErrRunNotFound.
func (s *Store) GetRun(ctx context.Context, id string) (Run, error) {
	var row runRow
	err := s.db.Get(ctx, &row, getRun, id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunNotFound
	}
	if err != nil {
		return Run{}, pg.Problem(fmt.Sprintf("get run %q", id), err)
	}
	return row.run(), nil
}

// For whoever waits for the run this is an end of it.
var deleteRun = defineFamilyWrite("delete_run", `affected AS MATERIALIZED (
	    SELECT id, parent_id, parent_step
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	)`, "$2", "{delete}", `, found AS (
	    SELECT id, status, owner IS NOT NULL AS owned
	    FROM locked
	    WHERE id = $1
	), ended AS (
	    SELECT id
	    FROM found
	    WHERE status IN ('pending', 'running', 'suspended') AND NOT owned
	), deleted AS (
	    -- The foreign keys take the steps and the signals along.
	    DELETE FROM {schema}.workflow_runs
	    USING clock, found
	    WHERE workflow_runs.id = found.id AND NOT found.owned
	)`+childrenEnded+`
	SELECT owned
	FROM clock, found`)

// DeleteRun deletes a run and its steps, not what it has started; ErrRunNotFound, or ErrRunOwned while a worker executes it.
func (s *Store) DeleteRun(ctx context.Context, id string) error {
	return pg.Problem(fmt.Sprintf("delete run %q", id), s.deleteRun(ctx, id))
}

func (s *Store) deleteRun(ctx context.Context, id string) error {
	if s.db.Tx() != nil {
		if err := lock.AcquireWithin(ctx, s.db.Tx(), *s.Gate(id), s.opts.LockTimeout); err != nil {
			return err
		}
	}
	owned, err := writeFamily[bool](ctx, s, deleteRun, []any{id})
	if err == nil && owned[0] {
		err = ErrRunOwned
	}
	return err
}
