package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const finishText = `
	WITH run AS (
	    SELECT id
	    FROM {schema}.workflow_runs
	    WHERE id = $1 AND epoch = $2::bigint AND status = 'running'
	    {update}
	)
	UPDATE {schema}.workflow_runs
	SET status = $3, output = $4::jsonb, error = $5::jsonb, owner = NULL, updated_at = {clock_ms}
	FROM run
	WHERE workflow_runs.id = run.id`

var (
	finishRun      = define(finishText)
	hastyFinishRun = define(hasty(finishText))
)

// End is the outcome of an owned run.
type End struct {
	Owned
	Status RunStatus
	Output json.RawMessage
	Err    *Error
}

// row implements [Write].
func (e End) row() []any {
	return []any{e.RunID, e.Epoch, string(e.Status), argument(e.Output), e.Err.encode()}
}

// FinishRun writes the outcome of an owned run; ErrRunLost when it has another owner by now, or was finished already.
func (s *Store) FinishRun(ctx context.Context, e End) error {
	written, err := s.exec(ctx, finishRun, e.row()...)
	return problem(fmt.Sprintf("finish run %q", e.RunID), lostUnless(written, err))
}

var parkRun = define(`
	UPDATE {schema}.workflow_runs
	SET status = 'suspended', owner = NULL, epoch = epoch + 1, updated_at = {clock_ms},
	    run_at = least({clock_ms} + $3::bigint, deadline_at)
	WHERE id = $1 AND epoch = $2::bigint AND status = 'running'`)

// ParkRun suspends an owned run until wakeIn from now, or its deadline; ErrRunLost when it has another owner by now.
func (s *Store) ParkRun(ctx context.Context, run Owned, wakeIn time.Duration) error {
	parked, err := s.exec(ctx, parkRun, run.RunID, run.Epoch, wakeIn.Milliseconds())
	return problem(fmt.Sprintf("park run %q", run.RunID), lostUnless(parked, err))
}

var releaseRun = define(`
	UPDATE {schema}.workflow_runs
	SET status = 'pending', owner = NULL, epoch = epoch + 1, run_at = {clock_ms}, updated_at = {clock_ms}
	WHERE id = $1 AND epoch = $2::bigint AND status = 'running'`)

// ReleaseRun makes an owned run pending; ErrRunLost when it has another owner by now.
func (s *Store) ReleaseRun(ctx context.Context, run Owned) error {
	released, err := s.exec(ctx, releaseRun, run.RunID, run.Epoch)
	return problem(fmt.Sprintf("release run %q", run.RunID), lostUnless(released, err))
}

func lostUnless(written int64, err error) error {
	if err == nil && written == 0 {
		return ErrRunLost
	}
	return err
}

var cancelRun = define(`
	WITH run AS (
	    SELECT id, status
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {update}
	), moved AS (
	    UPDATE {schema}.workflow_runs
	    SET status = 'cancelled', owner = NULL, epoch = epoch + 1, run_at = NULL, updated_at = {clock_ms}
	    FROM run
	    WHERE workflow_runs.id = run.id AND run.status IN ('pending', 'running', 'suspended')
	    RETURNING workflow_runs.id
	)
	SELECT run.status, EXISTS (SELECT FROM moved) AS moved
	FROM run`)

// CancelRun cancels a run that is not finished, whoever owns it; one that was cancelled already is fine, another
// finished one a *TransitionError.
func (s *Store) CancelRun(ctx context.Context, id string) error {
	return s.move(ctx, "cancel", id, cancelRun, RunCancelled)
}

// A handled failure of another step keeps its record: only what made the run fail is attempted again, or, when that is
// not known, every step that has failed.
var resumeRun = define(`
	WITH run AS (
	    SELECT id, status, error ->> 'step' AS step
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {update}
	), moved AS (
	    UPDATE {schema}.workflow_runs
	    SET status = 'pending', output = NULL, error = NULL, epoch = epoch + 1, run_at = {clock_ms},
	        deadline_at = NULL, take_overs = 0, updated_at = {clock_ms}
	    FROM run
	    WHERE workflow_runs.id = run.id AND run.status IN ('failed', 'cancelled')
	    RETURNING workflow_runs.id, run.step
	), again AS (
	    UPDATE {schema}.workflow_steps AS step
	    SET status = 'pending', wake_at = NULL, attempts = jsonb_set(step.attempts, '{count}', '0'),
	        updated_at = {clock_ms}
	    FROM moved
	    WHERE step.run_id = moved.id AND step.status IN ('failed', 'pending')
	      AND step.step_name = coalesce(moved.step, step.step_name)
	)
	SELECT run.status, EXISTS (SELECT FROM moved) AS moved
	FROM run`)

// ResumeRun makes a failed or cancelled run pending; any other is a *TransitionError.
func (s *Store) ResumeRun(ctx context.Context, id string) error {
	return s.move(ctx, "resume", id, resumeRun, RunPending)
}

func (s *Store) move(ctx context.Context, op, id string, q query, to RunStatus) error {
	var found struct {
		Status RunStatus `db:"status"`
		Moved  bool      `db:"moved"`
	}
	err := s.guarded(ctx, &found, q, id)
	if err == nil && !found.Moved && (found.Status != to || to == RunPending) {
		err = &TransitionError{RunID: id, From: found.Status, To: to}
	}
	return problem(fmt.Sprintf("%s run %q", op, id), err)
}
