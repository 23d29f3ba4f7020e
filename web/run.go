package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

type runView struct {
	ID, Workflow string
	Badge        badge
	Created      moment
	Ended        moment
	Took         string
	Finished     bool
	Facts        []fact
	Why          *whyView
	Err          *errorView
	Input        payload
	Output       payload
	Timeline     timeline
	Children     []runRow
	MoreChildren string // address of the list of all
	Signals      []signalView
	MoreSignals  string
	Approvals    []approvalView
	Can          map[string]bool
	Awaited      []string // names of signals that it waits for
}

// A fact is something known of a run, one line of them.
type fact struct {
	Name, Text, To string
	Mono           bool
}

type errorView struct{ Message, Code, Step, Stack string }

type signalView struct {
	Name, Key, TakenBy string
	Sent               moment
	Payload            payload
}

// known is all that a run's page is made of.
type known struct {
	run        workflow.Run
	why        workflow.Why
	steps      []workflow.Step
	signals    []workflow.SentSignal
	attributes map[string]string
	flight     []workflow.StepInFlight
	children   workflow.RunPage
}

// childrenShown is how many children a run's page has.
const childrenShown = 50

// lookUp asks for all of it. Each look finds its rows by the id of the run.
func (d *dashboard) lookUp(r *http.Request, run workflow.Run) (k known, err error) {
	ctx := r.Context()
	k.run = run
	for _, look := range []func() error{
		func() error { k.why, err = d.svc.Why(ctx, run.ID); return err },
		func() error { k.steps, err = d.svc.ListSteps(ctx, run.ID); return err },
		func() error { k.signals, err = d.svc.ListSignals(ctx, run.ID); return err },
		func() error { k.attributes, err = d.svc.GetAttributes(ctx, run.ID); return err },
		func() error { k.flight, err = d.svc.StepsInFlight(ctx, run.ID); return err },
		func() error {
			k.children, err = d.svc.ListRuns(ctx, workflow.RunFilter{ParentID: run.ID, Limit: childrenShown, MaxLook: most})
			return err
		},
	} {
		if err := look(); err != nil {
			return k, err
		}
	}
	return k, nil
}

// run shows all of one run.
func (d *dashboard) run(r *http.Request) (page, error) {
	run, err := d.svc.GetRun(r.Context(), r.URL.Query().Get("id"))
	target := Target{RunID: run.ID, Workflow: run.Workflow, Queue: run.Queue}
	if !d.options.allows(r, ActionView, target) { // also when there is none: whether there is, is not told
		return page{}, errForbidden
	}
	if err != nil {
		return page{}, err
	}
	k, err := d.lookUp(r, run)
	if err != nil {
		return page{}, err
	}
	sees := d.options.allows(r, ActionPayloads, target)
	now := k.why.Now
	view := runView{
		ID: run.ID, Workflow: run.Workflow, Badge: badgeOf(run.Status, run.SuspendedFor), Finished: run.Status.Finished(),
		Created: momentOf(run.CreatedAt, now), Took: span(endOf(run, now).Sub(run.CreatedAt)),
		Facts: factsOf(k, now), Why: whyViewOf(k.why), Err: errorViewOf(run.Err),
		Input: payloadOf(run.Input, sees), Output: payloadOf(run.Output, sees),
		Timeline: timelineOf(k, now, sees), Children: rowsOf(k.children.Runs, now), Can: make(map[string]bool),
	}
	if view.Finished {
		view.Ended = momentOf(run.UpdatedAt, now)
	}
	if k.children.Next != "" {
		view.MoreChildren = addressOfList(filter{RunFilter: workflow.RunFilter{ParentID: run.ID}}.query())
	}
	view.Signals, view.MoreSignals = signalsOf(k.signals, now, sees)
	view.actions(d.options, r, k, target)
	return page{template: "run", title: run.Workflow, data: view, live: true}, nil
}

// actions are those that may be done and would do something.
func (v *runView) actions(options Options, r *http.Request, k known, target Target) {
	resumable := k.run.Status == workflow.RunFailed || k.run.Status == workflow.RunCancelled
	v.Can[string(ActionCancel)] = !v.Finished && options.allows(r, ActionCancel, target)
	v.Can[string(ActionResume)] = resumable && options.allows(r, ActionResume, target)
	v.Can[string(ActionSignal)] = !v.Finished && options.allows(r, ActionSignal, target)
	for _, cause := range k.run.WaitsFor {
		if name, ok := strings.CutPrefix(cause, "signal:"); ok && !strings.Contains(name, ":") {
			v.Awaited = append(v.Awaited, name)
		}
	}
	for _, step := range k.steps {
		if step.Kind == workflow.ApprovalStep && step.Status == workflow.StepScheduled && !v.Finished {
			v.Approvals = append(v.Approvals, approvalOf(options, r, k, step, target))
		}
	}
}

// signalsShown is how many signals a run's page has: the last ones.
const signalsShown = 50

func signalsOf(sent []workflow.SentSignal, now time.Time, sees bool) (views []signalView, more string) {
	if len(sent) > signalsShown {
		more = "The last " + count(signalsShown) + " of " + count(len(sent)) + "."
		sent = sent[len(sent)-signalsShown:]
	}
	for _, signal := range sent {
		views = append(views, signalView{
			Name: signal.Name, Key: signal.Key, TakenBy: signal.TakenBy, Sent: momentOf(signal.SentAt, now), Payload: payloadOf(signal.Payload, sees),
		})
	}
	return views, more
}
