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

func (o Owned) run() string { return o.RunID }

// Checkpoint is the success of a step of an owned run.
type Checkpoint struct {
	Owned
	Name   string
	Kind   StepKind
	Seq    int           // rank in the order in which the run reached its steps, from 1 on
	Took   time.Duration // since the attempt began
	Result json.RawMessage
	WakeIn *time.Duration // of a sleep
	Again  bool           // the step may have a row already: it is to be written alone
}

func (*Checkpoint) kind() int   { return checkpointKind }
func (c *Checkpoint) size() int { return len(c.Result) }

func (c *Checkpoint) row() []any {
	return []any{
		c.RunID, c.Epoch, c.Name, text(string(c.Kind)), number(c.Seq), c.Took.Milliseconds(), pg.JSON(c.Result), milliseconds(c.WakeIn),
	}
}

// Step returns the step as the checkpoint writes it, but for its times, which are the database's.
func (c *Checkpoint) Step() *Step {
	step := &Step{RunID: c.RunID, Name: c.Name, Status: StepSucceeded, Result: c.Result, Kind: c.Kind, Seq: c.Seq}
	if c.WakeIn != nil {
		step.WakeIn = *c.WakeIn
	}
	return step
}

// At most so many failures of a step are kept.
const maxFailures = 20

// Failure is a failed attempt of a step of an owned run.
type Failure struct {
	Owned
	Name    string
	Kind    StepKind
	Seq     int           // as in Checkpoint
	Took    time.Duration // since the attempt began
	Err     *Error
	Count   int // of failed attempts, this one included
	Policy  RetryPolicy
	RetryIn *time.Duration // until the next attempt; nil: this was the last, the step has failed
}

func (*Failure) kind() int { return failureKind }
func (f *Failure) size() int {
	return len(f.Err.Message) + len(f.Err.Stack)
}

func (f *Failure) row() []any {
	return []any{
		f.RunID, f.Epoch, f.Name, text(string(f.Kind)), number(f.Seq), f.Took.Milliseconds(), string(f.status()), encodeError(f.Err),
		int64(f.Count), encodePolicy(f.Policy), milliseconds(f.RetryIn),
	}
}

func (f *Failure) status() StepStatus {
	if f.RetryIn == nil {
		return StepFailed
	}
	return StepPending
}

// Step returns the step as the failure writes it over the one before, which may be nil. Times are the caller's, where the
// database writes its own.
func (f *Failure) Step(before *Step) *Step {
	step := &Step{
		RunID: f.RunID, Name: f.Name, Status: f.status(), Err: f.Err, Kind: f.Kind, Seq: f.Seq,
		Attempts: &Attempts{Count: f.Count, Policy: f.Policy},
	}
	if before != nil && before.Attempts != nil {
		kept := before.Attempts.Failures
		kept = kept[max(0, len(kept)-maxFailures+1):]
		step.Attempts.Failures = append(step.Attempts.Failures, kept...)
	}
	step.Attempts.Failures = append(step.Attempts.Failures, FailedAttempt{At: time.Now(), Err: f.Err})
	if f.RetryIn != nil {
		step.WakeIn = *f.RetryIn
	}
	return step
}

// A mark says that a step is about to be called.
type mark struct {
	Owned
	name     string
	stepKind StepKind
	seq      int
}

func (mark) kind() int { return markKind }
func (mark) size() int { return 0 }
func (m mark) row() []any {
	return []any{m.RunID, m.Epoch, m.name, text(string(m.stepKind)), number(m.seq)}
}

// MarkStep records durably that a step of an owned run is about to be called (its status is running then), so that whoever
// takes the run over can tell that its worker died in user code.
func (s *Store) MarkStep(ctx context.Context, run Owned, name string, kind StepKind, seq int) (Outcome, error) {
	outcomes, err := s.Write(ctx, []Write{mark{run, name, kind, seq}})
	return outcomes[0], err
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
