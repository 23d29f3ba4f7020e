package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// Owned names a run and the epoch under which its owner writes.
type Owned struct {
	RunID string
	Epoch int64
}

var checkpoint = define(`
	WITH run AS (
	    SELECT id
	    FROM {schema}.workflow_runs
	    WHERE id = $1 AND epoch = $2::bigint AND status = 'running'
	    {share}
	)
	INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, result, error, updated_at)
	SELECT run.id, $3::text, $4::text, $5::jsonb, $6::jsonb, {clock_ms}
	FROM run
	ON CONFLICT (run_id, step_name) DO UPDATE
	SET status = EXCLUDED.status, result = EXCLUDED.result, error = EXCLUDED.error, updated_at = EXCLUDED.updated_at
	WHERE step.status <> 'succeeded'`)

var recordedStep = define(`
	SELECT step.step_name, step.status, step.result, step.error, step.updated_at
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_steps AS step ON step.run_id = run.id AND step.step_name = $3
	WHERE run.id = $1 AND run.epoch = $2::bigint AND run.status = 'running'`)

// Checkpoint records the end of a step of an owned run and returns the step as recorded: the given one, or the one that
// had succeeded before. ErrRunLost when the run has another owner by now; then nothing was written.
func (s *Store) Checkpoint(ctx context.Context, run Owned, step NewStep) (Step, error) {
	op := fmt.Sprintf("checkpoint step %q of run %q", step.Name, run.RunID)
	failure, err := step.Err.encode()
	if err != nil {
		return Step{}, problem(op, err)
	}
	written, err := s.exec(ctx, checkpoint,
		run.RunID, run.Epoch, step.Name, string(step.Status), argument(step.Result), failure)
	if err != nil {
		return Step{}, problem(op, err)
	}
	if written == 1 {
		recorded := Step{RunID: run.RunID, Name: step.Name, Status: step.Status, Result: step.Result}
		if step.Err != nil {
			recorded.Err = step.Err
		}
		return recorded, nil
	}

	var row stepRow
	err = s.get(ctx, &row, recordedStep, run.RunID, run.Epoch, step.Name)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Step{}, problem(op, ErrRunLost)
	case err != nil:
		return Step{}, problem(op, err)
	case !row.Name.Valid:
		return Step{}, problem(op, errors.New("neither written nor recorded"))
	}
	return row.step(run.RunID), nil
}

var finishRun = define(`
	UPDATE {schema}.workflow_runs
	SET status = $3, output = $4::jsonb, error = $5::jsonb, owner = NULL, updated_at = {clock_ms}
	WHERE id = $1 AND epoch = $2::bigint AND status = 'running'`)

// FinishRun writes the outcome of an owned run; ErrRunLost when it has another owner by now, or was finished already.
func (s *Store) FinishRun(ctx context.Context, run Owned, status RunStatus, output json.RawMessage, failure *Error) error {
	op := fmt.Sprintf("finish run %q", run.RunID)
	encoded, err := failure.encode()
	if err != nil {
		return problem(op, err)
	}
	written, err := s.exec(ctx, finishRun, run.RunID, run.Epoch, string(status), argument(output), encoded)
	if err == nil && written == 0 {
		err = ErrRunLost
	}
	return problem(op, err)
}
