package workflow

import (
	"context"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// An Observer is told what happens to runs and steps in its process: Config.Observer. The module otelworkflow has one that makes
// metrics and traces of it.
//
// Observe is called for one event after the other, in the order in which they happened in this process, by a goroutine that no run waits
// for (a take-over and the claim after it, which are the work of two loops, may be told the other way round). So it may take its time, or panic: a run or a worker is never the worse for it. While more than 10,000 events wait to be told,
// those that follow are dropped, and a warning says how many. [Service.Close] waits a second, at most, until all are told.
//
// What is replayed is no event: a step that is recorded is not started again. Nor is what others do by the state API, by hand.
type Observer interface {
	Observe(Event)
}

// A Tracer is an [Observer] that carries something from where a run is started to the functions that are called for it, wherever that is:
// as a rule a trace context, so that what they do is shown below what has started them. Implement it beside Observe; Config.Observer is
// asked for it.
//
// Its answers are waited for, other than Observe: each for a second, at most. While one that was late has not come, the next are not asked
// for, and functions get their contexts as they are.
type Tracer interface {
	Observer

	// Inject is called before a run is started, with the context of [Workflow.Start], [Call] or their like, and an event that tells of
	// which workflow. What it returns is stored with the run, for Begin: names and values that are valid UTF-8, as long as they are 1 KiB
	// together; beyond that the longest are left out. Nothing is stored for an empty map. A run that is called or spawned by another has
	// what that one has if its process has no Tracer.
	Inject(ctx context.Context, started Event) map[string]string

	// Begin is called before the function of a run, and of each attempt of a step, is called. They get the context that it returns, which
	// should descend from ctx; it ends when ctx does, whatever Begin makes of that. The event is an [EventRunClaimed], whose Trace
	// is what Inject has returned when the run was started, or an [EventStepStarted].
	//
	// The function that it returns, if it is not nil, is called once, as Observe is, with the event that says what has become of the run
	// in this process, or of the attempt.
	Begin(ctx context.Context, begun Event) (context.Context, func(ended Event))
}

// EventKind is what an [Event] tells. Later releases may add to the kinds.
type EventKind string

// The events of a run. What has become of it in this process is one of the last six.
const (
	// EventRunStarted: this process has created the run, which may be claimed before that is told. In a transaction of the application it is told when the row is written; the run
	// exists once that has committed.
	EventRunStarted EventKind = "run_started"

	// EventRunTakenOver: the worker that executed the run has died, and somebody will claim it.
	EventRunTakenOver EventKind = "run_taken_over"

	// EventRunClaimed: this process begins to execute the run. Event.Waited says for how long it had waited for that.
	EventRunClaimed EventKind = "run_claimed"

	// EventRunWoken: the run that was just claimed had been suspended, for Event.Reason.
	EventRunWoken EventKind = "run_woken"

	// EventRunCancelled: the run was cancelled by this process. It has no more than an id. A cancel in a transaction of the application is
	// not told.
	EventRunCancelled EventKind = "run_cancelled"

	// EventRunCompleted: its function has returned an output, which is recorded.
	EventRunCompleted EventKind = "run_completed"

	// EventRunFailed: it has failed for good with Event.Err.
	EventRunFailed EventKind = "run_failed"

	// EventRunParked: it waits, without a slot, for Event.WaitsFor, or until Event.Next has passed, or whichever is first.
	EventRunParked EventKind = "run_parked"

	// EventRunBlocked: it cannot go on as things are, for Event.Err, and is tried again.
	EventRunBlocked EventKind = "run_blocked"

	// EventRunHandedBack: this process gives it back, as when its worker stops. Another one goes on with it.
	EventRunHandedBack EventKind = "run_handed_back"

	// EventRunLost: it was cancelled, or goes on elsewhere, because this worker did not renew its lease in time.
	EventRunLost EventKind = "run_lost"
)

// The events of an attempt of a step: it is started, and then one of the others follows. Waits, as of [Sleep], [Call] or a signal, are no attempts.
const (
	// EventStepStarted: its function is about to be called.
	EventStepStarted EventKind = "step_started"

	// EventStepSucceeded: the step has a result, which is recorded.
	EventStepSucceeded EventKind = "step_succeeded"

	// EventStepRetried: the attempt has failed with Event.Err, and another one follows after Event.Next.
	EventStepRetried EventKind = "step_retried"

	// EventStepFailed: the attempt has failed with Event.Err, and was the last one.
	EventStepFailed EventKind = "step_failed"

	// EventStepInterrupted: nothing was recorded of the attempt, because the run is lost, or stops here.
	EventStepInterrupted EventKind = "step_interrupted"
)

// Event is something that happened to a run or to an attempt of a step. Fields that do not apply are zero.
type Event struct {
	Kind     EventKind
	At       time.Time // by this process's clock
	RunID    string
	Workflow string
	Queue    string            // that the run is in; "" for none
	Step     string            // its key
	Attempt  int               // of the step, from 1
	Took     time.Duration     // how long the attempt has taken until that was recorded, or the run since it was claimed
	Waited   time.Duration     // of EventRunClaimed: since the run might have been claimed, by the database's clock
	Next     time.Duration     // until the next attempt, or until a parked run goes on in any case
	Reason   SuspendReason     // why a run is, or was, suspended
	WaitsFor []string          // what makes it go on, as Run.WaitsFor
	Trace    map[string]string // of EventRunClaimed, for [Tracer]: what was stored with the run
	Code     Code              // of Err; "" if it has none
	Err      error             // why, as it is recorded; nil for none
}

func eventOf(e write.Event) Event {
	event := Event{
		Kind: EventKind(e.Kind.Name()), At: e.At, RunID: e.RunID, Workflow: e.Workflow, Queue: e.Queue, Step: e.Step, Attempt: e.Attempt,
		Took: e.Took, Waited: e.Waited, Next: e.Next, Reason: e.Reason, WaitsFor: e.WaitsFor, Trace: e.Trace, Err: errorOf(e.Err),
	}
	var stored *store.Error
	if errors.As(e.Err, &stored) {
		event.Code = Code(stored.Code)
	}
	return event
}

// listener is how the engine sees an observer.
func (c Config) listener() write.Listener {
	switch o := c.Observer.(type) {
	case nil:
		return nil
	case Tracer:
		return tracing{observing{o}, o}
	default:
		return observing{o}
	}
}

type observing struct{ observer Observer }

func (o observing) Observe(e write.Event) { o.observer.Observe(eventOf(e)) }

type tracing struct {
	observing
	tracer Tracer
}

func (t tracing) Inject(ctx context.Context, e write.Event) map[string]string {
	return t.tracer.Inject(ctx, eventOf(e))
}

func (t tracing) Begin(ctx context.Context, e write.Event) (context.Context, func(write.Event)) {
	ctx, end := t.tracer.Begin(ctx, eventOf(e))
	if end == nil {
		return ctx, nil
	}
	return ctx, func(e write.Event) { end(eventOf(e)) }
}
