package store

import (
	"encoding/json"
	"time"
)

// Take closes a wait: its step has succeeded with a result, or failed with an error. It writes over the scheduled step, which
// keeps what it asked for, since when and until when, and its child; a wait that was over at once has no row before. The first
// outcome stays, whoever wrote it: then the outcome of this is Exists.
type Take struct {
	Owned
	Name      string
	Kind      StepKind
	Seq       int           // as in Checkpoint
	Took      time.Duration // since the wait began; of a step that was not scheduled
	Result    json.RawMessage
	Err       *Error // nil: it has succeeded
	SignalSeq int64  // the signal taken; 0: none
	WakeSeq   *int64 // for what decides that something has not come: as the owner knows it; when it has moved, the outcome is Woken
	ChildID   string // of the scheduled step; not written
}

func (*Take) kind() int { return takeKind }

func (t *Take) size() int {
	if t.Err != nil {
		return len(t.Result) + len(t.Err.Message) + len(t.Err.Stack)
	}
	return len(t.Result)
}

func (t *Take) fill(row *fields) {
	row.text(t.RunID)
	row.number(t.Epoch)
	row.text(t.Name)
	row.textOrNull(string(t.Kind))
	row.numberOrNull(t.Seq)
	row.number(t.Took.Milliseconds())
	row.text(string(t.status()))
	row.json(t.Result)
	row.json(encodeError(t.Err))
	row.numberOrNull(int(t.SignalSeq))
	if t.WakeSeq != nil {
		row.number(*t.WakeSeq)
	} else {
		row.null()
	}
}

func (t *Take) status() StepStatus {
	if t.Err != nil {
		return StepFailed
	}
	return StepSucceeded
}

// Step returns the step as the take writes it, but for its times, which are the database's.
func (t *Take) Step() Step {
	step := Step{
		RunID: t.RunID, Name: t.Name, Status: t.status(), Result: t.Result, Kind: t.Kind, Seq: t.Seq,
		SignalSeq: t.SignalSeq, ChildID: t.ChildID,
	}
	if t.Err != nil {
		step.Err = t.Err
	}
	return step
}
