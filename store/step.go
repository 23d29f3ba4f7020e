package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// StepStatus is where a step stands.
type StepStatus string

// The statuses of a step.
const (
	StepPending   StepStatus = "pending"   // never written
	StepScheduled StepStatus = "scheduled" // handed to someone who will execute it
	StepRunning   StepStatus = "running"   // being executed
	StepSucceeded StepStatus = "succeeded" // has a result; final
	StepFailed    StepStatus = "failed"    // has an error; may still succeed
)

// Step is one unit of work of a run.
type Step struct {
	RunID     string
	Name      string
	Status    StepStatus
	Result    json.RawMessage // nil unless succeeded
	Err       error           // nil, or an *Error
	UpdatedAt time.Time       // zero when never written
}

// DecodeResult stores the result in the value that v points to, as [json.Unmarshal] does. It is an error when the step
// has not succeeded.
func (s Step) DecodeResult(v any) error {
	return decode(fmt.Sprintf("result of step %q of run", s.Name), s.RunID, s.Result, v)
}

// A run without steps is a row without a step, so every column of the step may be NULL.
type stepRow struct {
	Name      sql.NullString `db:"step_name"`
	Status    sql.NullString `db:"status"`
	Result    jsonb          `db:"result"`
	Error     jsonb          `db:"error"`
	UpdatedAt sql.NullInt64  `db:"updated_at"`
}

func (r stepRow) step(runID string) Step {
	return Step{
		RunID: runID, Name: r.Name.String, Status: StepStatus(r.Status.String),
		Result: json.RawMessage(r.Result), Err: decodeError(r.Error), UpdatedAt: time.UnixMilli(r.UpdatedAt.Int64),
	}
}

var getStep = define(`
	SELECT step.step_name, step.status, step.result, step.error, step.updated_at
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_steps AS step ON step.run_id = run.id AND step.step_name = $2
	WHERE run.id = $1`)

// GetStepState returns a step; one that was never written is pending. ErrRunNotFound when there is no such run.
func (s *Store) GetStepState(ctx context.Context, runID, name string) (Step, error) {
	var row stepRow
	err := s.get(ctx, &row, getStep, runID, name)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunNotFound
	}
	if err != nil {
		return Step{}, problem(fmt.Sprintf("get step %q of run %q", name, runID), err)
	}
	if !row.Name.Valid {
		return Step{RunID: runID, Name: name, Status: StepPending}, nil
	}
	return row.step(runID), nil
}

var listSteps = define(`
	SELECT step.step_name, step.status, step.result, step.error, step.updated_at
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_steps AS step ON step.run_id = run.id
	WHERE run.id = $1
	ORDER BY step.updated_at, step.step_name`)

// ListSteps returns the steps of a run in the order of their last change; ErrRunNotFound when there is no such run.
func (s *Store) ListSteps(ctx context.Context, runID string) ([]Step, error) {
	var rows []stepRow
	err := s.list(ctx, &rows, listSteps, runID)
	if err == nil && len(rows) == 0 {
		err = ErrRunNotFound
	}
	if err != nil {
		return nil, problem(fmt.Sprintf("list steps of run %q", runID), err)
	}
	steps := make([]Step, 0, len(rows))
	for _, row := range rows {
		if row.Name.Valid {
			steps = append(steps, row.step(runID))
		}
	}
	return steps, nil
}

var setStep = define(`
	WITH run AS (
	    SELECT id, status, owner IS NOT NULL AS owned
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {share}
	), written AS (
	    INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, result, error, updated_at)
	    SELECT run.id, $2::text, $3::text, $4::jsonb, $5::jsonb, {clock_ms}
	    FROM run
	    WHERE NOT run.owned AND run.status IN ('pending', 'running', 'suspended')
	    ON CONFLICT (run_id, step_name) DO UPDATE
	    SET status = EXCLUDED.status, result = EXCLUDED.result, error = EXCLUDED.error,
	        updated_at = EXCLUDED.updated_at
	    -- The first result wins.
	    WHERE step.status <> 'succeeded'
	    RETURNING step.step_name
	)
	SELECT run.status, run.owned, EXISTS (SELECT FROM written) AS written
	FROM run`)

var stepHasResult = define(`
	SELECT status = 'succeeded' AND $3 = 'succeeded' AND result = $4::jsonb
	FROM {schema}.workflow_steps
	WHERE run_id = $1 AND step_name = $2`)

// NewStep is what [Store.SetStep] writes.
type NewStep struct {
	RunID  string
	Name   string
	Status StepStatus
	Result json.RawMessage // of a succeeded step
	Err    *Error          // of a failed step
}

// SetStep writes the state of a step of a run that nobody executes: ErrRunNotFound, ErrRunOwned, ErrRunFinished, or
// ErrStepFinished when the step has succeeded, unless with the same result.
func (s *Store) SetStep(ctx context.Context, step NewStep) error {
	return problem(fmt.Sprintf("set step %q of run %q to %s", step.Name, step.RunID, step.Status), s.setStep(ctx, step))
}

func (s *Store) setStep(ctx context.Context, step NewStep) error {
	failure, err := step.Err.encode()
	if err != nil {
		return err
	}
	var found struct {
		Status  RunStatus `db:"status"`
		Owned   bool      `db:"owned"`
		Written bool      `db:"written"`
	}
	result := argument(step.Result)
	err = s.guarded(ctx, &found, setStep, step.RunID, step.Name, string(step.Status), result, failure)
	switch {
	case err != nil:
		return err
	case found.Written:
		return nil
	case found.Owned:
		return ErrRunOwned
	case found.Status.Finished():
		return ErrRunFinished
	}

	var same bool
	err = s.get(ctx, &same, stepHasResult, step.RunID, step.Name, string(step.Status), result)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrRunNotFound // deleted since
	case err == nil && !same:
		return ErrStepFinished
	default:
		return err
	}
}
