package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
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
	Seq       int             // rank in the order in which the run reached its steps, from 1 on; 0: written by the state API
	StartedAt time.Time       // when the newest attempt began; zero: written by the state API
	Attempts  *Attempts       // nil when no attempt has failed
	WakeAt    time.Time       // end of a sleep, time of the next attempt, or when a scheduled step is no longer waited for
	WakeIn    time.Duration   // WakeAt from the time of reading, by the database's clock
	Request   json.RawMessage // what a scheduled step asks for; nil: nothing in particular
	ChildID   string          // the run that the step has started, the first of them; "": none
	Waiting   int             // how many of the runs that it waits for are unfinished
	SignalSeq int64           // the signal that it has taken; 0: none
	LeftOut   int             // bytes of a result that was not read; of [Store.LookAtSteps] only
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
	Count    int // since the run was started or resumed
	Policy   RetryPolicy
	Failures []FailedAttempt // the newest last, at most 20
}

// FailedAttempt is one failed attempt of a step.
type FailedAttempt struct {
	At  time.Time // by the database's clock
	Err *Error
}

// RetryPolicy says how often a step is attempted and how long each next attempt waits.
type RetryPolicy struct {
	MaxAttempts int           // the first one included. Defaults to 5
	FirstDelay  time.Duration // before the second attempt. Defaults to 1 s
	Factor      float64       // by which each further delay grows. Defaults to 2
	MaxDelay    time.Duration // that no delay exceeds. Defaults to 5 min
	Jitter      float64       // part of a delay that is random, 0 to 1. Defaults to 0.2; negative for none
}

var getStep = pg.DefineRead("get_step", `
	SELECT `+stepColumns+`
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_steps AS step ON step.run_id = run.id AND step.step_name = $2
	WHERE run.id = $1`)

// GetStepState returns a step; one that was never written is pending. ErrRunNotFound when there is no such run.
func (s *Store) GetStepState(ctx context.Context, runID, name string) (Step, error) {
	var row stepRow
	err := s.db.Get(ctx, &row, getStep, runID, name)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunNotFound
	}
	if err != nil {
		return Step{}, pg.Problem(fmt.Sprintf("get step %q of run %q", name, runID), err)
	}
	if !row.Name.Valid {
		return Step{RunID: runID, Name: name, Status: StepPending}, nil
	}
	return row.step(runID), nil
}

var listSteps = pg.DefineRead("list_steps", `
	SELECT `+stepColumns+`
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_steps AS step ON step.run_id = run.id
	WHERE run.id = $1
	ORDER BY step.seq NULLS LAST, step.updated_at, step.step_name`)

// ListSteps returns the steps of a run in the order in which it reached them, then those that the state API recorded, in the
// order of their last change; ErrRunNotFound when there is no such run.
func (s *Store) ListSteps(ctx context.Context, runID string) ([]Step, error) {
	var rows []stepRow
	err := s.db.List(ctx, &rows, listSteps, runID)
	if err == nil && len(rows) == 0 {
		err = ErrRunNotFound
	}
	if err != nil {
		return nil, pg.Problem(fmt.Sprintf("list steps of run %q", runID), err)
	}
	steps := make([]Step, 0, len(rows))
	for _, row := range rows {
		if row.Name.Valid {
			steps = append(steps, row.step(runID))
		}
	}
	return steps, nil
}

// A step that the run waits for may be completed even while a worker executes the run, and wakes it. Its row is looked at
// before it is written, and may change between: so what may be written is said again there. The run is locked for an update in
// any case, because two callers that shared it could not both wake it.
var setStep = pg.Define("set_step", `
	WITH `+clockClause+`, run AS (
	    SELECT id, status, owner IS NOT NULL AS owned
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {update}
	), wait AS (
	    SELECT status
	    FROM {schema}.workflow_steps
	    WHERE run_id = $1 AND step_name = $2 AND kind IN (`+waitKinds+`)
	), written AS (
	    INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, result, error, updated_at)
	    SELECT run.id, $2::text, $3::text, $4::jsonb, $5::jsonb, clock.ms
	    FROM clock, run
	    LEFT JOIN wait ON true
	    WHERE run.status IN ('pending', 'running', 'suspended')
	      AND (NOT run.owned OR wait.status = 'scheduled' AND $3 <> 'scheduled')
	    ON CONFLICT (run_id, step_name) DO UPDATE
	    SET status = EXCLUDED.status, result = EXCLUDED.result, error = EXCLUDED.error,
	        updated_at = EXCLUDED.updated_at
	    -- The first result wins; of a wait the first error too, because the run may know it.
	    WHERE CASE WHEN (SELECT owned FROM run) THEN step.status = 'scheduled'
	               WHEN step.kind IN (`+waitKinds+`) THEN step.status NOT IN ('succeeded', 'failed')
	               ELSE step.status <> 'succeeded'
	          END
	    RETURNING step.kind
	), woken AS (
	    -- Whatever the step was when this statement began: the run may have come to wait for it since.
	    UPDATE {schema}.workflow_runs AS run
	    SET `+wakes("'step:' || $2::text")+`
	    FROM clock, written
	    WHERE run.id = $1 AND $3 <> 'scheduled' AND written.kind IN (`+waitKinds+`)
	)
	SELECT run.status, run.owned, wait.status IS NOT NULL AS waits, EXISTS (SELECT FROM written) AS written
	FROM clock
	CROSS JOIN run
	LEFT JOIN wait ON true`)

// NewStep is what [Store.SetStep] writes.
type NewStep struct {
	RunID  string
	Name   string
	Status StepStatus
	Result json.RawMessage // of a succeeded step
	Err    *Error          // of a failed step
}

// SetStep writes the state of a step of a run that nobody executes: ErrRunNotFound, ErrRunOwned, ErrRunFinished, or
// ErrStepFinished when the step has succeeded, unless with the same result. A scheduled step that the run waits for may be
// completed whoever executes the run, once, which makes the run go on.
func (s *Store) SetStep(ctx context.Context, step NewStep) error {
	return pg.Problem(fmt.Sprintf("set step %q of run %q to %s", step.Name, step.RunID, step.Status), s.setStep(ctx, step))
}

func (s *Store) setStep(ctx context.Context, step NewStep) error {
	var found struct {
		Status  RunStatus `db:"status"`
		Owned   bool      `db:"owned"`
		Waits   bool      `db:"waits"` // the step is one that the run waits for, or has waited for
		Written bool      `db:"written"`
	}
	err := s.guarded(ctx, &found, setStep, step.RunID, step.Name, string(step.Status), pg.JSON(step.Result), pg.JSON(encodeError(step.Err)))
	var refused error
	switch {
	case err != nil || found.Written:
		return err
	case found.Owned:
		refused = ErrRunOwned
	case found.Status.Finished():
		refused = ErrRunFinished
	}
	if refused != nil && !found.Waits {
		return refused
	}

	// The step has an outcome. The same again is success, but not that of a sleep, which has none.
	var row stepRow
	err = s.db.Get(ctx, &row, getStep, step.RunID, step.Name)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && !row.Name.Valid:
		return ErrRunNotFound // deleted since
	case err != nil || row.says(step):
		return err
	case refused == nil || StepStatus(row.Status.String) == StepSucceeded || StepStatus(row.Status.String) == StepFailed:
		return ErrStepFinished
	default:
		return refused
	}
}

// says reports whether the row has the outcome that step has.
func (r stepRow) says(step NewStep) bool {
	switch {
	case StepStatus(r.Status.String) != step.Status:
		return false
	case step.Status == StepSucceeded:
		return sameJSON(json.RawMessage(r.Result), step.Result)
	default:
		return step.Status == StepFailed && sameError(r.Error, step.Err)
	}
}
