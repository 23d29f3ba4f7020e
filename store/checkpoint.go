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
	Seq    int           // rank in the order in which the run reached its steps, from 1 on
	Took   time.Duration // since the attempt began
	Result json.RawMessage
	WakeIn *time.Duration // of a sleep
	Again  bool           // the step may have a row already, or sets attributes: it is to be written alone
}

func (c *Checkpoint) kind() int {
	if c.Kind == AttributesStep {
		return attributesKind
	}
	return checkpointKind
}

func (c *Checkpoint) size() int { return len(c.Result) }

func (c *Checkpoint) fill(row *fields) {
	row.text(c.RunID)
	row.number(c.Epoch)
	row.text(c.Name)
	row.textOrNull(string(c.Kind))
	row.numberOrNull(c.Seq)
	row.number(c.Took.Milliseconds())
	row.json(c.Result)
	row.duration(c.WakeIn)
}

var checkpoints = kind{
	name: "checkpoint_step", op: "checkpoint step", given: "step", runID: "run_id",
	fields:  "run_id text, epoch bigint, step_name text, kind text, seq int, took bigint, result jsonb, wake_in bigint",
	written: "recorded", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step
    (run_id, step_name, status, result, updated_at, kind, seq, started_at, wake_at)
SELECT step.run_id, step.step_name, 'succeeded', step.result, clock.ms, step.kind, step.seq, clock.ms - step.took,
       clock.ms + step.wake_in
FROM clock
CROSS JOIN step
` + guard("step", "run_id", "FOR SHARE"),
	alone: `
ON CONFLICT (run_id, step_name) DO UPDATE
SET status = EXCLUDED.status, result = EXCLUDED.result, error = NULL, updated_at = EXCLUDED.updated_at,
    kind = EXCLUDED.kind, seq = EXCLUDED.seq, started_at = EXCLUDED.started_at, wake_at = EXCLUDED.wake_at
WHERE step.status <> 'succeeded'`,
}

// Step returns the step as the checkpoint writes it, but for its times, which are the database's.
func (c *Checkpoint) Step() Step {
	step := Step{RunID: c.RunID, Name: c.Name, Status: StepSucceeded, Result: c.Result, Kind: c.Kind, Seq: c.Seq}
	if c.WakeIn != nil {
		step.WakeIn = *c.WakeIn
	}
	return step
}

var recordedStep = pg.DefineRead("recorded_step", `
	SELECT `+stepColumns+`
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_steps AS step ON step.run_id = run.id AND step.step_name = $3
	WHERE run.id = $1 AND run.epoch = $2::bigint AND run.status = 'running'`)

// RecordedStep returns a step of an owned run as it stands, with status "" when it was never written; ErrRunLost when the
// run has another owner by now. It takes no lock.
func (s *Store) RecordedStep(ctx context.Context, run Owned, name string) (Step, error) {
	step, err := s.recorded(ctx, run, name)
	return step, pg.Problem(fmt.Sprintf("look up step %q of run %q", name, run.RunID), err)
}

func (s *Store) recorded(ctx context.Context, run Owned, name string) (Step, error) {
	var row stepRow
	err := s.db.Get(ctx, &row, recordedStep, run.RunID, run.Epoch, name)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrRunLost
	}
	if err != nil {
		return Step{}, err
	}
	return row.step(run.RunID), nil
}
