package store

import (
	"encoding/json"
	"time"
)

// Kinds of steps that start runs.
const (
	CallStep  StepKind = "call"  // waits for the runs that it has started
	SpawnStep StepKind = "spawn" // only starts them
)

// Schedule opens a step that waits for others; what it waits for closes it. A step that only starts runs succeeds at once.
type Schedule struct {
	Owned
	Name     string
	Kind     StepKind
	Seq      int            // as in Checkpoint
	Took     time.Duration  // since the step began
	WakeIn   *time.Duration // until it is no longer waited for; nil: never
	Request  json.RawMessage
	Children *Children // nil: none
	Again    bool      // there is a row of the step: the write goes alone
}

func (s *Schedule) kind() int {
	if s.Children != nil {
		return fanOutKind
	}
	return scheduleKind
}

func (s *Schedule) size() int {
	size := len(s.Request)
	if s.Children != nil {
		size += s.Children.size()
	}
	return size
}

func (s *Schedule) fill(row *fields) {
	row.text(s.RunID)
	row.number(s.Epoch)
	row.text(s.Name)
	row.textOrNull(string(s.Kind))
	row.numberOrNull(s.Seq)
	row.number(s.Took.Milliseconds())
	row.duration(s.WakeIn)
	row.json(s.Request)
	if s.Children != nil {
		s.Children.fill(row)
	}
}

// Fields of a scheduled step, and how it is written over a row that was there before: the step was set back by Resume, or by
// the state API. One that is scheduled or has succeeded stays.
const (
	scheduleFields = "run_id text, epoch bigint, step_name text, kind text, seq int, took bigint, wake_in bigint, request jsonb"

	scheduleAgain = `
ON CONFLICT (run_id, step_name) DO UPDATE
SET status = EXCLUDED.status, result = NULL, error = NULL, updated_at = EXCLUDED.updated_at, kind = EXCLUDED.kind,
    seq = EXCLUDED.seq, started_at = EXCLUDED.started_at, wake_at = EXCLUDED.wake_at, request = EXCLUDED.request,
    child_id = EXCLUDED.child_id, waiting = EXCLUDED.waiting, signal_seq = NULL
WHERE step.status NOT IN ('scheduled', 'succeeded')`
)

var schedules = kind{
	name: "schedule_step", op: "schedule step", given: "wait", runID: "run_id", stays: StepScheduled,
	fields:  scheduleFields,
	written: "scheduled", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step
    (run_id, step_name, status, updated_at, kind, seq, started_at, wake_at, request)
SELECT wait.run_id, wait.step_name, 'scheduled', clock.ms, wait.kind, wait.seq, clock.ms - wait.took,
       clock.ms + wait.wake_in, wait.request
FROM clock
CROSS JOIN wait
` + guard("wait", "run_id", "FOR SHARE"),
	alone: scheduleAgain,
}

// Step returns the step as the schedule writes it, but for its times, which are the database's.
func (s *Schedule) Step() Step {
	step := Step{RunID: s.RunID, Name: s.Name, Status: StepScheduled, Kind: s.Kind, Seq: s.Seq, Request: s.Request}
	if s.WakeIn != nil {
		step.WakeIn = *s.WakeIn
	}
	if c := s.Children; c != nil {
		if len(c.IDs) > 0 {
			step.ChildID = c.IDs[0]
		}
		if c.Awaited {
			step.Waiting = len(c.IDs)
		} else {
			step.Status = StepSucceeded
		}
	}
	return step
}
