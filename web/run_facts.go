package web

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow"
)

// factsOf are those that a run has; the usual ones that say nothing are left out.
func factsOf(k known, now time.Time) []fact {
	run := k.run
	var facts []fact
	add := func(f fact) {
		if f.Text != "" {
			facts = append(facts, f)
		}
	}
	if run.ParentID != "" {
		add(fact{Name: "Called by", Text: run.ParentID, To: runURL(run.ParentID), Mono: true})
		add(fact{Name: "in step", Text: run.ParentStep})
	}
	if run.Queue != "" {
		add(fact{Name: "Queue", Text: run.Queue, To: addressOfList(url.Values{"queue": {run.Queue}})})
		if run.Priority != workflow.PriorityNormal {
			add(fact{Name: "Priority", Text: run.Priority.String()})
		}
	}
	add(fact{Name: "Partition", Text: run.Partition})
	add(fact{Name: "Unique key", Text: run.UniqueKey})
	add(fact{Name: "Version", Text: run.Version})
	add(fact{Name: "Worker", Text: run.Owner, Mono: true})
	if k.why.Worker.Host != "" {
		add(fact{Name: "Host", Text: k.why.Worker.Host})
	}
	if !run.Status.Finished() {
		add(fact{Name: "Due", Text: momentOf(run.RunAt, now).Text})
	}
	for _, name := range slices.Sorted(maps.Keys(k.attributes)) {
		value := k.attributes[name]
		add(fact{Name: name, Text: value, To: addressOfList(url.Values{"attributes": {name + "=" + value}})})
	}
	return facts
}

func errorViewOf(err error) *errorView {
	var own *workflow.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &own):
		return &errorView{Message: err.Error()}
	}
	return &errorView{Message: own.Message, Code: string(own.Code), Step: own.Step, Stack: own.Stack}
}

// A whyView is why a run does not move.
type whyView struct {
	Kind  string // of badge
	Title string
	Text  string // the sentence of the library
	Queue string // the page of queues helps
	Runs  []runRow
	More  string
}

// titles are what each reason is called, and how urgent it looks.
var titles = map[workflow.WhyCode]struct{ kind, title string }{
	workflow.WhyExecuted:      {"running", "It moves"},
	workflow.WhyStepInFlight:  {"running", "A step takes long"},
	workflow.WhyLeaseEnded:    {"blocked", "Its worker has died"},
	workflow.WhyAsleep:        {"waiting", "It sleeps"},
	workflow.WhyRetry:         {"blocked", "A step failed and will be tried again"},
	workflow.WhySignal:        {"waiting", "It waits to be told something"},
	workflow.WhyChildren:      {"waiting", "It waits for runs that it has called"},
	workflow.WhyDelayed:       {"waiting", "It begins later"},
	workflow.WhyBlocked:       {"failed", "Its code does not match its record"},
	workflow.WhyByHand:        {"waiting", "It is moved by hand"},
	workflow.WhyNoWorker:      {"failed", "No worker is alive"},
	workflow.WhyUnserved:      {"failed", "No worker knows its workflow"},
	workflow.WhyAnnounced:     {"waiting", "The application's own queue has it"},
	workflow.WhyBehind:        {"waiting", "Others are before it"},
	workflow.WhyNoQueue:       {"failed", "Its queue is gone"},
	workflow.WhyQueuePaused:   {"blocked", "Its queue is paused"},
	workflow.WhyQueueFull:     {"waiting", "Its queue is full"},
	workflow.WhyPartitionFull: {"waiting", "Its partition is full"},
	workflow.WhyWorkersFull:   {"waiting", "Each worker has enough of its queue"},
	workflow.WhyRate:          {"waiting", "Its queue's rate holds it"},
}

// whyViewOf is nil for a run that is over: its status and its error say it all.
func whyViewOf(why workflow.Why) *whyView {
	if why.Code == workflow.WhyFinished {
		return nil
	}
	title := titles[why.Code]
	if title.title == "" { // of a later release
		title.kind, title.title = "waiting", string(why.Code)
	}
	view := &whyView{Kind: title.kind, Title: title.title, Text: sentence(why.String()), Queue: why.Queue}
	for _, run := range why.Runs {
		view.Runs = append(view.Runs, runRow{
			ID: run.RunID, Workflow: run.Workflow, Badge: badgeOf(run.Status, ""), Created: momentOf(run.Since, why.Now),
		})
	}
	if more := why.Count - len(why.Runs); len(why.Runs) > 0 && more > 0 {
		view.More = "and " + count(more) + " more"
	}
	return view
}
