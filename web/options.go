package web

import (
	"log/slog"
	"net/http"
	"time"
)

// Options change what a dashboard shows and lets people do. With the zero value everything can be seen by whoever reaches the handler, and
// nothing can be done.
type Options struct {
	// Allow is asked whether the sender of a request may do something: before each page, before each action, and for each button, which
	// is shown only if it would work. It is called often, so it should answer from what the request carries. Defaults to
	// [ActionView] and [ActionPayloads] for everybody, and nothing else for anybody.
	Allow func(r *http.Request, action Action, on Target) bool

	// ReadOnly refuses every action but looking, whatever Allow says.
	ReadOnly bool

	// HidePayloads shows no input, output, result, signal or request to anybody, whatever Allow says. Names, ids, search attributes and the
	// messages of errors are shown; an application that writes secrets into those should not let people see the page.
	HidePayloads bool

	// User names who sends a request, for decisions: the name that the approval is decided by, and that has to be among those who
	// are asked. Defaults to asking for the name in the form, which is for applications that trust whoever may decide at all.
	User func(r *http.Request) string

	// Title stands on each page, to tell one dashboard from another. Defaults to "Workflows".
	Title string

	// Refresh is how often an open page asks for what has changed, while it is looked at. Too low costs the database some reads for each
	// page that is open. Negative: never. Defaults to 5 s.
	Refresh time.Duration

	// CrossOrigin decides which requests from other sites are let through. Defaults to a new one, which lets none.
	CrossOrigin *http.CrossOriginProtection

	// Logger gets actions, with who did them where User says so, and what went wrong on the server's side. Defaults to none.
	Logger *slog.Logger
}

// An Action is something that a request asks for.
type Action string

// The actions. Later releases may add to them, so Allow should refuse those that it does not know.
const (
	ActionView     Action = "view"     // see a page; of a run where Target has one
	ActionPayloads Action = "payloads" // see inputs, outputs, results, signals and requests

	ActionCancel          Action = "cancel"           // cancel a run, and those that it has called
	ActionResume          Action = "resume"           // resume a failed or cancelled run
	ActionSignal          Action = "signal"           // send a signal to a run
	ActionDecide          Action = "decide"           // decide an approval
	ActionPauseQueue      Action = "pause_queue"      // let no run of a queue begin
	ActionResumeQueue     Action = "resume_queue"     // let them begin again
	ActionPauseSchedule   Action = "pause_schedule"   // let ticks start nothing
	ActionResumeSchedule  Action = "resume_schedule"  // let them start runs again
	ActionTriggerSchedule Action = "trigger_schedule" // start a run of a schedule now
)

// A Target is what an action is about; fields that do not apply are empty.
type Target struct {
	RunID    string
	Workflow string // of the run, or of the schedule
	Queue    string // of the run, or the queue itself; "" for a decision
	Schedule string
	Step     string // that asks, of a decision
}

func (o Options) withDefaults() Options {
	if o.Title == "" {
		o.Title = "Workflows"
	}
	if o.Refresh == 0 {
		o.Refresh = 5 * time.Second
	}
	if o.CrossOrigin == nil {
		o.CrossOrigin = http.NewCrossOriginProtection()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// allows is the one place that decides what a request may do.
func (o Options) allows(r *http.Request, action Action, on Target) bool {
	looks := action == ActionView || action == ActionPayloads
	switch {
	case o.ReadOnly && !looks, o.HidePayloads && action == ActionPayloads:
		return false
	case o.Allow == nil:
		return looks
	default:
		return o.Allow(r, action, on)
	}
}
