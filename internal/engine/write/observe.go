package write

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Kind is what an [Event] is about.
type Kind int

// The kinds of events.
const (
	RunStarted Kind = iota
	RunClaimed
	RunWoken
	RunCompleted
	RunFailed
	RunCancelled
	RunBlocked
	RunParked
	RunLost
	RunHandedBack
	SignalsUnread
	StepStarted
	StepSucceeded
	StepInterrupted
	StepRetried
	StepFailed
	StepHangs
	FunctionHangs
	RunsTakenOver
	RunTakenOver
	ChildrenCancelled
	ParentsWoken
	RunsLeftBehind
	WorkBegan
	WorkIdle
	WorkWaits
	WorkflowsUnserved
	QueueUnserved
	ScheduleUnserved
	ScheduleUnreadable
	ScheduleTicked
	TicksMissed
	RunsPruned
	DispatchFailed
	LeaseLost
	NotificationsArrive
	NotificationsFail
	EventsDropped
	Trouble
)

// How each kind is logged; those that are not here are not. Levels follow one rule: a warning is something to look at that no caller is told
// about.
var kinds = [...]struct {
	level   slog.Level
	message string
}{
	RunCompleted:        {slog.LevelDebug, "run completed"},
	RunFailed:           {slog.LevelWarn, "run failed"},
	RunBlocked:          {slog.LevelWarn, "run is blocked and will be tried again"},
	RunParked:           {slog.LevelDebug, "run parked"},
	RunLost:             {slog.LevelInfo, "run lost: it was cancelled, or goes on elsewhere"},
	RunHandedBack:       {slog.LevelInfo, "run handed back"},
	SignalsUnread:       {slog.LevelWarn, "run has ended with signals that no step took"},
	StepSucceeded:       {slog.LevelDebug, "step succeeded"},
	StepRetried:         {slog.LevelInfo, "step attempt failed and will be repeated"},
	StepFailed:          {slog.LevelWarn, "step failed: this was its last attempt"},
	StepHangs:           {slog.LevelWarn, "step goes on although its context has ended; it keeps a slot"},
	FunctionHangs:       {slog.LevelWarn, "workflow function goes on although its context has ended; it keeps a slot"},
	RunsTakenOver:       {slog.LevelInfo, "took over runs of dead workers"},
	ChildrenCancelled:   {slog.LevelInfo, "cancelled runs whose parent has ended"},
	ParentsWoken:        {slog.LevelWarn, "woke runs that waited for children although all had ended"},
	RunsLeftBehind:      {slog.LevelWarn, "runs that do not end with their context are left behind; their writes will be refused"},
	WorkBegan:           {slog.LevelInfo, "worker began"},
	WorkIdle:            {slog.LevelWarn, "worker has no workflow registered and will execute nothing until it has: call Register"},
	WorkWaits:           {slog.LevelWarn, "worker waits for the database"},
	WorkflowsUnserved:   {slog.LevelWarn, "runs wait for workflows that no living worker has registered"},
	QueueUnserved:       {slog.LevelWarn, "runs wait in a queue that no living worker serves which has registered their workflows"},
	ScheduleUnserved:    {slog.LevelWarn, "no living worker has registered the workflow of a schedule and serves its queue"},
	ScheduleUnreadable:  {slog.LevelWarn, "this worker cannot tell when a schedule is due, and leaves it to others"},
	ScheduleTicked:      {slog.LevelDebug, "schedule started a run"},
	TicksMissed:         {slog.LevelWarn, "ticks of a schedule have passed without a run"},
	RunsPruned:          {slog.LevelInfo, "deleted runs that ended longer ago than they are kept"},
	DispatchFailed:      {slog.LevelWarn, "the application's queue was not told of runs; it will be tried again"},
	LeaseLost:           {slog.LevelError, "lease lost: its runs are stopped here and go on elsewhere"},
	NotificationsArrive: {slog.LevelInfo, "notifications arrive: polls are rare now"},
	NotificationsFail:   {slog.LevelWarn, "notifications do not arrive; the worker polls as without a notifier, and will try again"},
	EventsDropped:       {slog.LevelWarn, "the observer panics, or does not keep up: it was not told of events"},
	Trouble:             {slog.LevelWarn, "trouble with the database; it will be tried again"},
}

// What the application's observer knows a kind by; of those that are not here it is not told.
var names = [len(kinds)]string{
	RunStarted:      "run_started",
	RunClaimed:      "run_claimed",
	RunWoken:        "run_woken",
	RunCompleted:    "run_completed",
	RunFailed:       "run_failed",
	RunCancelled:    "run_cancelled",
	RunBlocked:      "run_blocked",
	RunParked:       "run_parked",
	RunLost:         "run_lost",
	RunHandedBack:   "run_handed_back",
	StepStarted:     "step_started",
	StepSucceeded:   "step_succeeded",
	StepInterrupted: "step_interrupted",
	StepRetried:     "step_retried",
	StepFailed:      "step_failed",
	RunTakenOver:    "run_taken_over",
}

// An Event is something that happened to a run, a step or the worker. Fields that do not apply are zero. Err is of ours or the
// driver's, never the application's own, whose methods are not to be called here.
type Event struct {
	Kind      Kind
	Worker    string
	RunID     string
	Workflow  string
	Workflows []string
	Queue     string
	Schedule  string
	Step      string
	At        time.Time // set for who is told
	Attempt   int
	Attempts  int // that the step has in all; 0: no bound
	Op        string
	Count     int64
	Ticks     int64 // of a schedule
	Took      time.Duration
	Waited    time.Duration       // of a claimed run, since it might have been
	Reason    store.SuspendReason // of a run that was parked
	Signals   []string            // by name
	WaitsFor  []string            // of a parked run, besides a time
	Next      time.Duration       // until the next attempt
	Trace     store.Trace         // that was stored with the run
	Dropped   int64               // events
	Err       error
}

// An Observer is the one place to which events go: every log line comes from here, and whatever the application is told. It is safe for
// concurrent use.
type Observer struct {
	log    *slog.Logger
	relay  *relay // nil: the application has no observer
	tracer *tracing

	mu   sync.Mutex
	last LastTrouble
}

// LastTrouble is trouble that no caller was told about.
type LastTrouble struct {
	Err error // nil: there was none
	At  time.Time
}

// NewObserver returns an observer that logs, and tells the application's, if there is one.
func NewObserver(log *slog.Logger, listener Listener) *Observer {
	o := &Observer{log: log}
	if listener != nil {
		o.relay = newRelay(listener.Observe, o.Observe)
		if tracer, ok := listener.(Tracer); ok {
			o.tracer = &tracing{tracer: tracer, relay: o.relay}
		}
	}
	return o
}

// Name is what the application's observer knows the kind by.
func (k Kind) Name() string { return names[k] }

// Wants reports whether anybody listens to a kind, so that a hot path need not make an event for nobody.
func (o *Observer) Wants(k Kind) bool { return o.tells(k) || o.logs(k) }

func (o *Observer) tells(k Kind) bool { return o.relay != nil && names[k] != "" }

func (o *Observer) logs(k Kind) bool {
	return kinds[k].message != "" && o.log.Enabled(context.Background(), kinds[k].level)
}

// LastTrouble returns the newest trouble that no caller was told about.
func (o *Observer) LastTrouble() LastTrouble {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// Observe tells of an event.
func (o *Observer) Observe(e Event) {
	switch e.Kind {
	case Trouble, LeaseLost, WorkWaits, DispatchFailed, NotificationsFail:
		o.mu.Lock()
		o.last = LastTrouble{Err: e.Err, At: time.Now()}
		o.mu.Unlock()
	}
	if o.tells(e.Kind) {
		o.relay.tell(e)
	}
	if !o.logs(e.Kind) {
		return
	}
	defer func() { _ = recover() }() // the handler is the application's: a worker must not die of a log line
	o.log.LogAttrs(context.Background(), kinds[e.Kind].level, kinds[e.Kind].message, e.attrs()...)
}

// Settle waits until the application's observer has been told all that has happened, for a time.
func (o *Observer) Settle(patience time.Duration) {
	if o.relay != nil {
		o.relay.settle(patience)
	}
}

func (e *Event) attrs() []slog.Attr {
	var attrs []slog.Attr
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("worker", e.Worker)
	text("run_id", e.RunID)
	text("workflow", e.Workflow)
	if len(e.Workflows) > 0 {
		attrs = append(attrs, slog.Any("workflows", e.Workflows))
	}
	text("queue", e.Queue)
	text("schedule", e.Schedule)
	if len(e.Signals) > 0 {
		attrs = append(attrs, slog.Any("signals", e.Signals))
	}
	if len(e.WaitsFor) > 0 {
		attrs = append(attrs, slog.Any("waits_for", e.WaitsFor))
	}
	text("step", e.Step)
	if e.Attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", e.Attempt))
	}
	if e.Attempts > 0 {
		attrs = append(attrs, slog.Int("max_attempts", e.Attempts))
	}
	text("operation", e.Op)
	if e.Count > 0 {
		attrs = append(attrs, slog.Int64("runs", e.Count))
	}
	if e.Ticks > 0 {
		attrs = append(attrs, slog.Int64("ticks", e.Ticks))
	}
	if e.Dropped > 0 {
		attrs = append(attrs, slog.Int64("events", e.Dropped))
	}
	if e.Took > 0 {
		attrs = append(attrs, slog.Duration("duration", e.Took))
	}
	if e.Next > 0 {
		attrs = append(attrs, slog.Duration("next_attempt_in", e.Next))
	}
	if e.Err != nil {
		var stored *store.Error
		if errors.As(e.Err, &stored) {
			text("code", stored.Code)
		}
		attrs = append(attrs, slog.String("error", brief(e.Err.Error())))
	}
	return attrs
}

// brief cuts what is too long for a line; the row has the whole.
func brief(text string) string {
	const most = 1000
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Logger returns a logger for what the application logs of a run, by its step and attempt inside a step.
func (o *Observer) Logger(runID, workflow, step string, attempt int) *slog.Logger {
	log := o.log.With("run_id", runID, "workflow", workflow)
	if step != "" {
		log = log.With("step", step, "attempt", attempt)
	}
	return log
}
