package run

import (
	"encoding/json"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// A record is a step as loaded or written, and never changes. A run keeps one for each of its steps, and most are plain ones that have
// succeeded: what others have besides stands apart. Frames of a step's call chain hold pointers to it: stacks of many runs are memory.
type record struct {
	Name   string
	Status store.StepStatus
	Kind   store.StepKind
	Seq    int
	Result json.RawMessage
	*details
	forgotten bool // its result is no longer in memory
}

// details are what a record has of a step that waits, has failed, or was attempted again. For what they mean see [store.Step].
type details struct {
	Err       error
	Attempts  *store.Attempts
	WakeAt    time.Time
	WakeIn    time.Duration
	Request   json.RawMessage
	ChildID   string
	SignalSeq int64
	at        time.Time // when it was loaded or written: WakeIn counts from then
}

// none are the details of all plain steps.
var none = new(details)

func newRecord(step store.Step) *record {
	r := recordOf(&step, time.Time{})
	return &r
}

// recordOf returns the record of a step that was loaded or written at a time; zero: now.
func recordOf(step *store.Step, at time.Time) record {
	r := record{Name: step.Name, Status: step.Status, Kind: step.Kind, Seq: step.Seq, Result: step.Result, details: none}
	if step.Err == nil && step.Attempts == nil && step.WakeAt.IsZero() && step.WakeIn == 0 && step.Request == nil &&
		step.ChildID == "" && step.SignalSeq == 0 {
		return r
	}
	if at.IsZero() {
		at = time.Now()
	}
	r.details = &details{
		Err: step.Err, Attempts: step.Attempts, WakeAt: step.WakeAt, WakeIn: step.WakeIn, Request: step.Request,
		ChildID: step.ChildID, SignalSeq: step.SignalSeq, at: at,
	}
	return r
}

func (r *record) hasEnded() bool {
	return r.Status == store.StepSucceeded || r.Status == store.StepFailed
}
