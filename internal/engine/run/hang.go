package run

import (
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// LongSteps returns the steps that have been in flight for longer than a time, for others to see where the run is.
func (r *Run) LongSteps(than time.Duration) []store.HangingStep {
	r.mu.Lock()
	defer r.mu.Unlock()
	var long []store.HangingStep
	for _, a := range r.attempts {
		if took := time.Since(a.started); !a.started.IsZero() && took > than {
			long = append(long, store.HangingStep{RunID: r.id, Step: a.key, Took: took})
		}
	}
	return long
}

// ReportHangs warns of steps that go on although their context has ended: at the first look, and then ever less often. A
// function that goes on outside its steps is reported when the run is over here.
func (r *Run) ReportHangs() {
	for _, e := range r.hangs() {
		r.tell(e)
	}
}

func (r *Run) hangs() []write.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var events []write.Event
	for _, a := range r.attempts {
		if a.ctx == nil || a.ctx.Err() == nil {
			continue
		}
		if a.due() {
			events = append(events, write.Event{Kind: write.StepHangs, Step: a.key, Attempt: a.number, Took: time.Since(a.started)})
		}
	}
	returned := r.call != nil && r.call.closed // and what was left to do after that is ours
	if len(r.attempts) == 0 && r.over && !returned && r.stuck.due() {
		events = append(events, write.Event{Kind: write.FunctionHangs})
	}
	return events
}

// reports counts looks at something that hangs.
type reports struct{ looks, next int }

// due reports whether this look is one to report: the second, then the fourth, the eighth and so on. At the first it may be
// about to end.
func (n *reports) due() bool {
	n.looks++
	if n.next == 0 {
		n.next = 2
	}
	if n.looks < n.next {
		return false
	}
	n.next *= 2
	return true
}
