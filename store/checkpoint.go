package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Owned names a run and the epoch under which its owner writes.
type Owned struct {
	RunID string
	Epoch int64
}

// Checkpoint is the success of a step of an owned run.
type Checkpoint struct {
	Owned
	Name   string
	Kind   StepKind
	Result json.RawMessage
	WakeIn *time.Duration // of a sleep
}

const checkpointText = `
	WITH run AS (
	    SELECT id
	    FROM {schema}.workflow_runs
	    WHERE id = $1 AND epoch = $2::bigint AND status = 'running'
	    {share}
	)
	INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, result, updated_at, kind, wake_at)
	SELECT run.id, $3::text, 'succeeded', $4::jsonb, {clock_ms}, $5::text, {clock_ms} + $6::bigint
	FROM run
	ON CONFLICT (run_id, step_name) DO UPDATE
	SET status = EXCLUDED.status, result = EXCLUDED.result, error = NULL, updated_at = EXCLUDED.updated_at,
	    kind = EXCLUDED.kind, wake_at = EXCLUDED.wake_at
	WHERE step.status <> 'succeeded'`

var (
	checkpoint      = define(checkpointText)
	hastyCheckpoint = define(hasty(checkpointText))
)

// row implements [Write].
func (c *Checkpoint) row() []any {
	row := []any{c.RunID, c.Epoch, c.Name, argument(c.Result), nil, nil}
	if c.Kind != "" {
		row[4] = string(c.Kind)
	}
	if c.WakeIn != nil {
		row[5] = c.WakeIn.Milliseconds()
	}
	return row
}

// Step returns the step as the checkpoint writes it.
func (c *Checkpoint) Step() *Step {
	step := &Step{RunID: c.RunID, Name: c.Name, Status: StepSucceeded, Result: c.Result, Kind: c.Kind}
	if c.WakeIn != nil {
		step.WakeIn = *c.WakeIn
	}
	return step
}

// Checkpoint records the success of a step of an owned run and returns the step as recorded: the given one, or the one
// that had succeeded before. ErrRunLost when the run has another owner by now; then nothing was written.
func (s *Store) Checkpoint(ctx context.Context, c *Checkpoint) (*Step, error) {
	op := fmt.Sprintf("checkpoint step %q of run %q", c.Name, c.RunID)
	written, err := s.exec(ctx, checkpoint, c.row()...)
	if err != nil {
		return nil, problem(op, err)
	}
	if written == 1 {
		return c.Step(), nil
	}
	step, err := s.recorded(ctx, c.Owned, c.Name)
	if err == nil && step.Status != StepSucceeded {
		err = errors.New("neither written nor recorded")
	}
	return &step, problem(op, err)
}

// errNotWritten rolls back a transaction whose checkpoint was refused.
var errNotWritten = errors.New("checkpoint not written")

// CheckpointTx begins a transaction at the given isolation, calls f in it, and commits what f wrote together with the
// step's success, or neither. f runs again after a serialization failure or a deadlock, and after a commit whose answer
// was lost, unless it turns out to have succeeded. The errors are f's own, those of [Store.Checkpoint], and those of the
// server.
func (s *Store) CheckpointTx(
	ctx context.Context, run Owned, name string, isolation sql.IsolationLevel,
	f func(context.Context, *sql.Tx) (json.RawMessage, error),
) (*Step, error) {
	var step *Step
	attempt := func() error {
		return s.transact(ctx, isolation, func(tx *sqlx.Tx) error {
			result, err := f(ctx, tx.Tx)
			if err != nil {
				return err
			}
			c := Checkpoint{Owned: run, Name: name, Kind: TxStep, Result: result}
			step = c.Step()
			// The guard is the last statement: a lock that is only shared suffices.
			answer, err := tx.ExecContext(ctx, s.text.alone[checkpoint], c.row()...)
			if err != nil {
				return err
			}
			if written, err := answer.RowsAffected(); err != nil || written == 1 {
				return err
			}
			return errNotWritten
		})
	}
	err := resend(ctx, attempt)
	if err == nil {
		return step, nil
	}
	var unknown *commitError
	if !errors.Is(err, errNotWritten) && !errors.As(err, &unknown) {
		return nil, err
	}
	// Refused, or perhaps committed: the row tells. The step's ctx may have ended by now.
	found, lost := s.recorded(context.WithoutCancel(ctx), run, name)
	switch {
	case lost != nil:
		return nil, problem(fmt.Sprintf("checkpoint step %q of run %q", name, run.RunID), lost)
	case found.Status == StepSucceeded:
		return &found, nil
	default:
		return nil, err
	}
}

var recordedStep = define(`
	SELECT step.step_name, step.status, step.result, step.error, step.updated_at,
	       step.kind, step.attempts, step.wake_at, step.wake_at - {now_ms} AS wake_in
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_steps AS step ON step.run_id = run.id AND step.step_name = $3
	WHERE run.id = $1 AND run.epoch = $2::bigint AND run.status = 'running'`)

// recorded returns a step of an owned run as it stands, with status "" when it was never written; ErrRunLost when the
// run has another owner by now.
func (s *Store) recorded(ctx context.Context, run Owned, name string) (Step, error) {
	var row stepRow
	err := s.get(ctx, &row, recordedStep, run.RunID, run.Epoch, name)
	if errors.Is(err, sql.ErrNoRows) {
		return Step{}, ErrRunLost
	}
	if err != nil {
		return Step{}, err
	}
	return row.step(run.RunID), nil
}

// At most so many failures of a step are kept.
const maxFailures = 20

var recordFailure = define(`
	WITH run AS (
	    SELECT id
	    FROM {schema}.workflow_runs
	    WHERE id = $1 AND epoch = $2::bigint AND status = 'running'
	    {share}
	)
	INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, error, updated_at, kind, attempts, wake_at)
	SELECT run.id, $3::text, $4::text, $5::jsonb, clock.ms, $6::text,
	       jsonb_build_object(
	           'count', $7::int,
	           'policy', $8::jsonb,
	           'failures', $9::jsonb || jsonb_build_array(jsonb_build_object('at', clock.ms, 'error', $5::jsonb))),
	       clock.ms + $10::bigint
	FROM run, (SELECT {clock_ms} AS ms) AS clock
	ON CONFLICT (run_id, step_name) DO UPDATE
	SET status = EXCLUDED.status, result = NULL, error = EXCLUDED.error, updated_at = EXCLUDED.updated_at,
	    kind = EXCLUDED.kind, attempts = EXCLUDED.attempts, wake_at = EXCLUDED.wake_at
	WHERE step.status <> 'succeeded'
	RETURNING step.step_name, step.status, step.error, step.updated_at, step.kind, step.attempts,
	          step.wake_at, $10::bigint AS wake_in`)

// FailedAttempt is what [Store.RecordFailure] writes.
type FailedAttempt struct {
	Name     string
	Kind     StepKind
	Err      *Error
	Attempts Attempts       // Count and Policy including this one; Failures before it
	RetryIn  *time.Duration // until the next attempt; nil: this was the last, the step has failed
}

// RecordFailure records a failed attempt of a step of an owned run and returns the step as recorded, which is an earlier
// success if there was one. ErrRunLost as [Store.Checkpoint].
func (s *Store) RecordFailure(ctx context.Context, run Owned, a FailedAttempt) (Step, error) {
	op := fmt.Sprintf("record failure of step %q of run %q", a.Name, run.RunID)
	failure := a.Err.encode()
	before := a.Attempts.Failures
	if len(before) >= maxFailures {
		before = before[len(before)-maxFailures+1:]
	}
	failures, err := json.Marshal(append([]Failure{}, before...))
	if err != nil {
		return Step{}, problem(op, err)
	}
	policy, err := json.Marshal(a.Attempts.Policy)
	if err != nil {
		return Step{}, problem(op, err)
	}
	status, wakeIn := StepFailed, sql.NullInt64{}
	if a.RetryIn != nil {
		status, wakeIn = StepPending, sql.NullInt64{Int64: a.RetryIn.Milliseconds(), Valid: true}
	}
	var row stepRow
	err = s.get(ctx, &row, recordFailure, run.RunID, run.Epoch, a.Name, string(status), failure,
		nullable(string(a.Kind)), a.Attempts.Count, string(policy), string(failures), wakeIn)
	if errors.Is(err, sql.ErrNoRows) {
		step, err := s.recorded(ctx, run, a.Name)
		return step, problem(op, err)
	}
	if err != nil {
		return Step{}, problem(op, err)
	}
	return row.step(run.RunID), nil
}
