package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// RunStatus is where a run stands. Its method Finished tells whether that is for good, and Valid whether there is such a status.
type RunStatus = store.RunStatus

// The statuses of a run. The last three are terminal.
const (
	RunPending   RunStatus = store.RunPending   // waits for a worker
	RunRunning   RunStatus = store.RunRunning   // is executed by its owner, or by hand when it has none
	RunSuspended RunStatus = store.RunSuspended // waits; Run.SuspendedFor says for what
	RunCompleted RunStatus = store.RunCompleted // returned an output
	RunFailed    RunStatus = store.RunFailed    // returned an error
	RunCancelled RunStatus = store.RunCancelled // was stopped from outside
)

// SuspendReason is what a suspended run waits for.
type SuspendReason = store.SuspendReason

// The reasons of a suspension. Later releases may add to them.
const (
	SuspendedForTime     SuspendReason = store.ForTime     // the end of a Sleep, or the next attempt of a step: Run.RunAt
	SuspendedForSignal   SuspendReason = store.ForSignal   // a signal, or a decision: Run.WaitsFor
	SuspendedForChildren SuspendReason = store.ForChildren // the end of runs that it has called: Run.WaitsFor
	SuspendedByHand      SuspendReason = store.ForHand     // somebody moved it there by the state API, and will move it on
	SuspendedBlocked     SuspendReason = store.ForBlocked  // it cannot go on as things are: Run.Err says why, and it is tried again at Run.RunAt
)

// Run is one execution of a workflow, as its row stands. Payloads are equal as JSON to what was written, not byte for byte:
// PostgreSQL normalises JSONB. Times are the database's, to the millisecond.
type Run struct {
	ID           string
	Workflow     string // name that the workflow was defined with
	Status       RunStatus
	SuspendedFor SuspendReason // "" unless suspended
	WaitsFor     []string      // what makes a suspended run go on besides RunAt: "signal:" and a signal's name, "step:" and the key of a scheduled step
	Input        json.RawMessage
	Output       json.RawMessage // nil: none recorded
	Err          error           // an *Error: why it failed, or what blocks it or last blocked it; nil otherwise
	Owner        string          // id of the worker that executes it; "" when nobody does
	Version      string          // Config.Version of the process that started it
	ParentID     string          // the run that called or spawned it; "" for none
	ParentStep   string          // the step of that run that waits for this one; "" for none
	Queue        string          // the queue that it is in ([WithQueue]); "" for none
	Priority     Priority        // in its queue; PriorityNormal without one
	Partition    string          // of its queue ([WithPartition]); "" for none
	UniqueKey    string          // of [WithUnique]; "" for none
	RunAt        time.Time       // when a worker may claim it; zero: never
	BlockedAt    time.Time       // since when it is blocked, without a new step; zero unless SuspendedFor is SuspendedBlocked
	CreatedAt    time.Time
	UpdatedAt    time.Time // last change of the row; steps have times of their own
}

func runOf(row store.Run) Run {
	return Run{
		ID: row.ID, Workflow: row.Workflow, Status: row.Status, SuspendedFor: row.SuspendedFor, WaitsFor: row.WaitsFor,
		Input: row.Input, Output: row.Output, Err: errorOf(row.Err), Owner: row.Owner, Version: row.Version,
		ParentID: row.ParentID, ParentStep: row.ParentStep,
		Queue: row.Queue, Priority: priorityOf(row.Place), Partition: row.Partition, UniqueKey: row.UniqueKey,
		RunAt: row.RunAt, BlockedAt: row.BlockedAt, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
}

// DecodeInput stores the input in the value that v points to, as [json.Unmarshal] does.
func (r Run) DecodeInput(v any) error {
	return decode(fmt.Sprintf("input of run %q", r.ID), r.Input, v)
}

// DecodeOutput stores the output in the value that v points to, as [json.Unmarshal] does. It is an error when none was
// recorded.
func (r Run) DecodeOutput(v any) error {
	return decode(fmt.Sprintf("output of run %q", r.ID), r.Output, v)
}

// RunFilter selects the runs of a list; the zero value selects all.
type RunFilter struct {
	Workflow      string            // only runs of this workflow; "" for all
	Statuses      []RunStatus       // only runs with one of these; none for all
	SuspendedFor  SuspendReason     // only runs that are suspended for this reason; "" for all
	ParentID      string            // only runs that this one has called or spawned; "" for all
	Queue         string            // only runs in this queue; "" for all, and those in none
	Attributes    map[string]string // only runs that have all of these ([WithAttributes]); none for all
	CreatedFrom   time.Time         // only runs created at this time or later; zero for no bound
	CreatedBefore time.Time         // only runs created before this time; zero for no bound
	Limit         int               // runs a page. Defaults to 100; at most 1,000
	MaxLook       int               // runs that are looked at for a page; 0 for as many as it takes. See RunPage.LookedTo
	Cursor        string            // RunPage.Next of the page before; "" for the first page
}

func (f RunFilter) stored() store.RunFilter {
	return store.RunFilter{
		Workflow: f.Workflow, Statuses: f.Statuses, SuspendedFor: f.SuspendedFor, ParentID: f.ParentID, Queue: f.Queue,
		Attributes: f.Attributes, CreatedFrom: f.CreatedFrom, CreatedBefore: f.CreatedBefore, Limit: f.Limit, MaxLook: f.MaxLook, Cursor: f.Cursor,
	}
}

// RunPage is one page of a list.
type RunPage struct {
	Runs []Run
	Next string // RunFilter.Cursor of the next page; "" when this is the last one

	// LookedTo is when the oldest run was created that was looked at, if RunFilter.MaxLook ended the page, which may have no run at all then;
	// Next goes on from there. It is zero where the page is full, or the last one. Of the children of a run (RunFilter.ParentID) no more than
	// MaxLook are listed, and not the newest of them.
	LookedTo time.Time
}

// StepStatus is where a step stands.
type StepStatus = store.StepStatus

// The statuses of a step.
const (
	StepPending   StepStatus = store.StepPending   // never written, or waits for its next attempt
	StepScheduled StepStatus = store.StepScheduled // handed to someone who will execute it; a wait that is not over
	StepRunning   StepStatus = store.StepRunning   // being executed; only written for runs whose workers have died before
	StepSucceeded StepStatus = store.StepSucceeded // has a result; final
	StepFailed    StepStatus = store.StepFailed    // has an error; may still succeed
)

// StepKind tells the steps of the engine apart; "" is a plain step.
type StepKind = store.StepKind

// The kinds of steps besides plain ones.
const (
	TxStep         StepKind = store.TxStep         // recorded in the transaction of its effects ([DoTx])
	SleepStep      StepKind = store.SleepStep      // a wait ([Sleep])
	SignalStep     StepKind = store.SignalStep     // a wait for a signal ([Signal.Wait])
	PollStep       StepKind = store.PollStep       // a look for one ([Signal.Poll])
	ApprovalStep   StepKind = store.ApprovalStep   // a wait for a decision ([Approval.Ask])
	CallStep       StepKind = store.CallStep       // runs that it waits for ([Call], [CallAll])
	SpawnStep      StepKind = store.SpawnStep      // a run that it only starts ([Spawn])
	AttributesStep StepKind = store.AttributesStep // sets attributes of the run, which are its result ([SetAttributes])
	PatchStep      StepKind = store.PatchStep      // no unit of work: the run takes the new way of a change ([Patched])
)

// Step is one unit of work of a run. Times are the database's, to the millisecond.
type Step struct {
	RunID     string
	Name      string // its key: branch/name, and #n after a repeated name
	Status    StepStatus
	Kind      StepKind
	Result    json.RawMessage // nil unless succeeded
	Err       error           // an *Error; of the newest attempt while the step is retried
	Attempts  *Attempts       // nil when no attempt has failed
	Seq       int             // the order in which the run reached its steps, from 1; 0 when written by the state API
	StartedAt time.Time       // of the newest attempt; zero when written by the state API
	UpdatedAt time.Time       // zero when never written
	WakeAt    time.Time       // end of a sleep, time of the next attempt, or until when is waited; zero for none
	Request   json.RawMessage // who is asked for what, {from, for}, or how many runs a [CallAll] waits for, {children}; nil for none
	ChildID   string          // the run that it has started, the first of them if there are more; "" for none
	Waiting   int             // how many of the runs that it waits for are unfinished
	SignalSeq int64           // SentSignal.Seq of the signal that it has taken; 0 for none
}

// Attempts are the failed attempts of a step.
type Attempts struct {
	Count    int             // since the run was started or resumed
	Policy   RetryPolicy     // as the first of them resolved it
	Failures []FailedAttempt // the newest last, at most 20
}

// FailedAttempt is one failed attempt of a step.
type FailedAttempt struct {
	At  time.Time // by the database's clock
	Err *Error
}

func stepOf(s store.Step) Step {
	step := Step{
		RunID: s.RunID, Name: s.Name, Status: s.Status, Kind: s.Kind, Result: s.Result, Err: errorOf(s.Err),
		Seq: s.Seq, StartedAt: s.StartedAt, UpdatedAt: s.UpdatedAt, WakeAt: s.WakeAt,
		Request: s.Request, ChildID: s.ChildID, Waiting: s.Waiting, SignalSeq: s.SignalSeq,
	}
	if s.Kind == SleepStep && s.WakeIn > 0 { // it was recorded once, when it began
		step.Status = StepScheduled
	}
	if s.Attempts != nil {
		step.Attempts = &Attempts{Count: s.Attempts.Count, Policy: RetryPolicy(s.Attempts.Policy)}
		for _, f := range s.Attempts.Failures {
			step.Attempts.Failures = append(step.Attempts.Failures, FailedAttempt{At: f.At, Err: storedError(f.Err)})
		}
	}
	return step
}

// DecodeResult stores the result in the value that v points to, as [json.Unmarshal] does. It is an error when the step has not
// succeeded.
func (s Step) DecodeResult(v any) error {
	return decode(fmt.Sprintf("result of step %q of run %q", s.Name, s.RunID), s.Result, v)
}

// Unlimited is a RetryPolicy.MaxAttempts without a bound.
const Unlimited = -1

// RetryPolicy says how often a step is attempted, and how long each next attempt waits. A zero field has its default.
type RetryPolicy struct {
	MaxAttempts int           // the first one included; [Unlimited] for no bound. Defaults to 5
	FirstDelay  time.Duration // before the second attempt. Defaults to 1 s
	Factor      float64       // by which each further delay grows, at least 1. Defaults to 2
	MaxDelay    time.Duration // that no delay exceeds. Defaults to 5 min
	Jitter      float64       // part of a delay that is random, 0 to 1; negative for none. Defaults to 0.2
}

// over returns the policy with what it leaves open from another one.
func (p RetryPolicy) over(other RetryPolicy) RetryPolicy {
	setDefault(&p.MaxAttempts, other.MaxAttempts)
	setDefault(&p.FirstDelay, other.FirstDelay)
	setDefault(&p.Factor, other.Factor)
	setDefault(&p.MaxDelay, other.MaxDelay)
	setDefault(&p.Jitter, other.Jitter)
	return p
}

// validate expects a policy without zero fields.
func (p RetryPolicy) validate() error {
	switch {
	case p.MaxAttempts < 0 && p.MaxAttempts != Unlimited:
		return fmt.Errorf("%w: RetryPolicy.MaxAttempts is %d: use Unlimited for no bound", ErrInvalidArgument, p.MaxAttempts)
	case p.FirstDelay < 0, p.MaxDelay < 0:
		return fmt.Errorf("%w: the delays of a RetryPolicy must not be negative", ErrInvalidArgument)
	case p.Factor < 1:
		return fmt.Errorf("%w: RetryPolicy.Factor is %g: use at least 1", ErrInvalidArgument, p.Factor)
	case p.Jitter > 1:
		return fmt.Errorf("%w: RetryPolicy.Jitter is %g: use at most 1", ErrInvalidArgument, p.Jitter)
	}
	return nil
}

// errorOf returns what a row has as an error as the package's *Error.
func errorOf(err error) error {
	var stored *store.Error
	if errors.As(err, &stored) {
		return storedError(stored)
	}
	return err
}

func storedError(e *store.Error) *Error {
	if e == nil {
		return nil
	}
	return &Error{Message: e.Message, Code: Code(e.Code), Stack: e.Stack, Step: e.Step}
}
