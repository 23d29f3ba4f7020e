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
	Err       error           // nil, or an *Error: of the newest attempt while the step is retried
	UpdatedAt time.Time       // zero when never written
	Kind      StepKind        // "" for a plain step
	Attempts  *Attempts       // nil when no attempt has failed
	WakeAt    time.Time       // end of a sleep, or time of the next attempt
	WakeIn    time.Duration   // WakeAt from the time of reading, by the database's clock
}

// StepKind tells steps of the engine apart.
type StepKind string

// The kinds of steps besides plain ones.
const (
	TxStep    StepKind = "tx"    // recorded in the transaction of its effects
	SleepStep StepKind = "sleep" // a wait
)

// Attempts are the failed attempts of a step, with the policy that the first of them resolved.
type Attempts struct {
	Count    int         `json:"count"` // since the run was started or resumed
	Policy   RetryPolicy `json:"policy"`
	Failures []Failure   `json:"failures"` // the newest last, at most 20
}

// Failure is one failed attempt.
type Failure struct {
	At    int64  `json:"at"` // Unix milliseconds
	Error *Error `json:"error"`
}

// RetryPolicy says how often a step is attempted and how long each next attempt waits; durations are in nanoseconds in
// the database.
type RetryPolicy struct {
	MaxAttempts int           `json:"max_attempts"` // the first one included. Defaults to 5
	FirstDelay  time.Duration `json:"first_delay"`  // before the second attempt. Defaults to 1 s
	Factor      float64       `json:"factor"`       // by which each further delay grows. Defaults to 2
	MaxDelay    time.Duration `json:"max_delay"`    // that no delay exceeds. Defaults to 5 min
	Jitter      float64       `json:"jitter"`       // part of a delay that is random, 0 to 1. Defaults to 0.2; negative for none
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
	Kind      sql.NullString `db:"kind"`
	Attempts  jsonb          `db:"attempts"`
	WakeAt    sql.NullInt64  `db:"wake_at"`
	WakeIn    sql.NullInt64  `db:"wake_in"`
}

func (r stepRow) step(runID string) Step {
	step := Step{
		RunID: runID, Name: r.Name.String, Status: StepStatus(r.Status.String),
		Result: json.RawMessage(r.Result), Err: decodeError(r.Error), UpdatedAt: time.UnixMilli(r.UpdatedAt.Int64),
		Kind: StepKind(r.Kind.String), Attempts: decodeAttempts(r.Attempts),
		WakeIn: time.Duration(r.WakeIn.Int64) * time.Millisecond,
	}
	if r.WakeAt.Valid {
		step.WakeAt = time.UnixMilli(r.WakeAt.Int64)
	}
	return step
}

// decodeAttempts forgives what it cannot read: it is history, and a number of attempts.
func decodeAttempts(column jsonb) *Attempts {
	if column == nil {
		return nil
	}
	var a Attempts
	if json.Unmarshal(column, &a) != nil {
		return nil
	}
	return &a
}

var getStep = define(`
	SELECT step.step_name, step.status, step.result, step.error, step.updated_at,
	       step.kind, step.attempts, step.wake_at, step.wake_at - {now_ms} AS wake_in
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
	SELECT step.step_name, step.status, step.result, step.error, step.updated_at,
	       step.kind, step.attempts, step.wake_at, step.wake_at - {now_ms} AS wake_in
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
	var found struct {
		Status  RunStatus `db:"status"`
		Owned   bool      `db:"owned"`
		Written bool      `db:"written"`
	}
	result := argument(step.Result)
	err := s.guarded(ctx, &found, setStep, step.RunID, step.Name, string(step.Status), result, step.Err.encode())
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
