package run

import (
	"context"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// tell observes an event of this run.
func (r *Run) tell(e write.Event) { r.env.Observer.Observe(r.event(e)) }

func (r *Run) event(e write.Event) write.Event {
	e.RunID, e.Workflow, e.Queue = r.id, r.workflow, r.queue
	return e
}

// tellOver observes what has become of the run here.
func (r *Run) tellOver(e write.Event) {
	e.Took = time.Since(r.began)
	r.tell(e)
	r.endSpan(e)
}

// beginSpan tells a tracer, if there is one, that the function is about to be called: for all its calls here.
func (r *Run) beginSpan() {
	ctx, span := r.env.Observer.Begin(r.own, r.event(write.Event{Kind: write.RunClaimed, Trace: r.trace}))
	r.around = ctx
	if span != nil {
		r.span.Store(span)
	}
}

func (r *Run) endSpan(e write.Event) {
	if span := r.span.Load(); span != nil {
		span.End(r.event(e))
	}
}

// inject returns what a tracer wants to find again with children that are about to be started. A process without one passes on what the
// run has.
func (r *Run) inject(ctx context.Context, c Children) store.Trace {
	if trace := r.env.Observer.Inject(ctx, write.Event{Kind: write.RunStarted, Workflow: c.Workflow, Queue: c.Place.Queue}); trace != nil {
		return trace
	}
	return r.trace
}

// tellStarted observes that children were started.
func (r *Run) tellStarted(c Children, ids []string) {
	if !r.env.Observer.Wants(write.RunStarted) {
		return
	}
	for _, id := range ids {
		r.env.Observer.Observe(write.Event{Kind: write.RunStarted, RunID: id, Workflow: c.Workflow, Queue: c.Place.Queue})
	}
}

// enter tells that the function of the step is about to be called, and returns the context for that.
func (a *attempt) enter() context.Context {
	r := a.call.run
	if !r.env.Observer.Wants(write.StepStarted) {
		return &a.context
	}
	e := r.event(write.Event{Kind: write.StepStarted, Step: a.key, Attempt: a.number})
	r.env.Observer.Observe(e)
	ctx, span := r.env.Observer.Begin(&a.context, e)
	a.entered, a.span = true, span
	return ctx
}

// tellOver observes what has become of the attempt.
func (a *attempt) tellOver(e write.Event) {
	e.Step, e.Attempt, e.Took = a.key, a.number, time.Since(a.started)
	a.call.run.tell(e)
	a.entered = false
	a.span.End(a.call.run.event(e))
}

// leave observes that nothing was recorded of an attempt, if that is so.
func (a *attempt) leave() {
	if a.entered {
		a.tellOver(write.Event{Kind: write.StepInterrupted, Err: context.Cause(a.call.ctx)})
	}
}
