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
	Place                        // where it waits for a worker
	UniqueKey    string          // while it is unfinished, no other run of its workflow has this key; "": none
	RunAt        time.Time       // when a worker may claim the run; zero: never
	BlockedAt    time.Time       // when it was first blocked, without a new step since; zero: it is not blocked
	CreatedAt    time.Time       // by the database's clock, to the millisecond
	UpdatedAt    time.Time
}

// runColumns are the columns of a runRow.
var runColumns = columnsOf(runRow{})

// columnsOf lists the columns that a row is scanned from, by its tags.
func columnsOf(row any) string {
	var columns []string
	for _, field := range reflect.VisibleFields(reflect.TypeOf(row)) {
		if column := field.Tag.Get("db"); column != "" {
			columns = append(columns, column)
		}
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
	placeRow
	UniqueKey sql.NullString `db:"unique_key"`
	BlockedAt sql.NullInt64  `db:"blocked_at"`
	RunAt     sql.NullInt64  `db:"run_at"`
	CreatedAt int64          `db:"created_at"`
	UpdatedAt int64          `db:"updated_at"`
}

func (r runRow) run() Run {
	run := Run{
		ID: r.ID, Workflow: r.Workflow, Status: r.Status,
		Input: json.RawMessage(r.Input), Output: json.RawMessage(r.Output), Err: decodeError(r.Error),
		Owner: r.Owner.String, Version: r.Version.String, ParentID: r.ParentID.String, ParentStep: r.ParentStep.String,
		SuspendedFor: SuspendReason(r.SuspendedFor.String), WaitsFor: r.WaitsFor, RunAt: timeOf(r.RunAt),
		Place: r.place(), UniqueKey: r.UniqueKey.String,
		CreatedAt: time.UnixMilli(r.CreatedAt), UpdatedAt: time.UnixMilli(r.UpdatedAt),
	}
	if run.SuspendedFor == ForBlocked { // a run that is tried again keeps its time
		run.BlockedAt = timeOf(r.BlockedAt)
	}
	return run
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

// For whoever waits for the run this is an end of it. It needs the run's steps and signals too, and at once only if nobody has locked any.
var deleteRun = defineFamilyWrite("delete_run", `affected AS MATERIALIZED (
	    SELECT id, parent_id, parent_step
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	)`, "FOR UPDATE", oneRun+" AND "+allFree("workflow_steps")+" AND "+allFree("workflow_signals"), `, found AS (
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

// allFree locks all rows of a run, or those that others have not locked, and is false then.
func allFree(table string) string {
	of := "FROM {schema}." + table + " WHERE run_id = $1"
	return "(SELECT count(*) " + of + ") = (SELECT count(*) FROM (SELECT " + of + " FOR UPDATE SKIP LOCKED) AS free)"
}

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
