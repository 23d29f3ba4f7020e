package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/sqlworkflow/workflow"
)

// notices say what was done, by the word in the address.
var notices = map[string]string{
	"cancel":          "Cancelled. A function that is being executed ends its context at the worker's next heartbeat.",
	"resume":          "Resumed: it is pending again, and goes on from where it was.",
	"signal":          "The signal is sent.",
	"decide":          "The decision is sent. Whether it counts is for the workflow to find.",
	"pause-queue":     "The queue is paused: no run of it begins. Those that run go on.",
	"resume-queue":    "The queue goes on.",
	"pause-schedule":  "The schedule is paused: its ticks start nothing and are counted.",
	"resume-schedule": "The schedule goes on with its next tick.",
	"trigger":         "Started: this is the run.",
}

// An act is done by a form, which is answered with the page that shows what has become of it.
type act struct {
	action Action
	target func(*dashboard, *http.Request) (Target, error)
	do     func(*dashboard, *http.Request, Target) (to string, err error)
}

// acts are by the last segment of the path.
var acts = map[string]act{
	"cancel": {ActionCancel, (*dashboard).runTarget, func(d *dashboard, r *http.Request, on Target) (string, error) {
		return runURL(on.RunID), d.svc.Cancel(r.Context(), on.RunID)
	}},
	"resume": {ActionResume, (*dashboard).runTarget, func(d *dashboard, r *http.Request, on Target) (string, error) {
		return runURL(on.RunID), d.svc.Resume(r.Context(), on.RunID)
	}},
	"signal": {ActionSignal, (*dashboard).runTarget, (*dashboard).signal},
	"decide": {ActionDecide, (*dashboard).stepTarget, (*dashboard).decide},
	"pause-queue": {ActionPauseQueue, (*dashboard).queueTarget, func(d *dashboard, r *http.Request, on Target) (string, error) {
		return "queues", d.svc.PauseQueue(r.Context(), on.Queue)
	}},
	"resume-queue": {ActionResumeQueue, (*dashboard).queueTarget, func(d *dashboard, r *http.Request, on Target) (string, error) {
		return "queues", d.svc.ResumeQueue(r.Context(), on.Queue)
	}},
	"pause-schedule": {ActionPauseSchedule, (*dashboard).scheduleTarget, func(d *dashboard, r *http.Request, on Target) (string, error) {
		return "schedules", d.svc.PauseSchedule(r.Context(), on.Schedule)
	}},
	"resume-schedule": {ActionResumeSchedule, (*dashboard).scheduleTarget, func(d *dashboard, r *http.Request, on Target) (string, error) {
		return "schedules", d.svc.ResumeSchedule(r.Context(), on.Schedule)
	}},
	"trigger": {ActionTriggerSchedule, (*dashboard).scheduleTarget, func(d *dashboard, r *http.Request, on Target) (string, error) {
		id, err := d.svc.TriggerSchedule(r.Context(), on.Schedule)
		return runURL(id), err
	}},
}

// act does what a form asks for, if its sender may.
func (d *dashboard) act(w http.ResponseWriter, r *http.Request, name string, a act) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		d.fail(w, r, &problem{http.StatusMethodNotAllowed, "This is done by a button", "Nothing was changed."})
		return
	}
	if err := readForm(w, r); err != nil {
		d.fail(w, r, err)
		return
	}
	target, err := a.target(d, r)
	if !d.options.allows(r, a.action, target) { // also when there is no such thing: whether there is, is not told
		err = errForbidden
	}
	to := ""
	if err == nil {
		to, err = a.do(d, r, target)
	}
	d.log(r, a.action, target, err)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	joint := "?"
	if strings.Contains(to, "?") {
		joint = "&"
	}
	redirect(w, to+joint+url.Values{"done": {name}}.Encode())
}

// log tells who has done what, or was refused.
func (d *dashboard) log(r *http.Request, action Action, on Target, err error) {
	attributes := []slog.Attr{slog.String("action", string(action))}
	for _, a := range []struct{ name, value string }{
		{"run_id", on.RunID}, {"workflow", on.Workflow}, {"step", on.Step}, {"queue", on.Queue}, {"schedule", on.Schedule},
	} {
		if a.value != "" {
			attributes = append(attributes, slog.String(a.name, a.value))
		}
	}
	if d.options.User != nil {
		attributes = append(attributes, slog.String("by", d.options.User(r)))
	}
	if err != nil {
		d.options.Logger.LogAttrs(r.Context(), slog.LevelWarn, "dashboard action refused", append(attributes, slog.Any("error", err))...)
		return
	}
	d.options.Logger.LogAttrs(r.Context(), slog.LevelInfo, "dashboard action", attributes...)
}

func (d *dashboard) runTarget(r *http.Request) (Target, error) {
	run, err := d.svc.GetRun(r.Context(), r.PostFormValue("id"))
	return Target{RunID: run.ID, Workflow: run.Workflow, Queue: run.Queue}, err
}

func (d *dashboard) stepTarget(r *http.Request) (Target, error) {
	target, err := d.runTarget(r)
	target.Step, target.Queue = r.PostFormValue("step"), ""
	return target, err
}

func (d *dashboard) queueTarget(r *http.Request) (Target, error) {
	return Target{Queue: r.PostFormValue("queue")}, nil
}

func (d *dashboard) scheduleTarget(r *http.Request) (Target, error) {
	schedule, err := d.svc.GetSchedule(r.Context(), r.PostFormValue("schedule"))
	return Target{Schedule: schedule.Name, Workflow: schedule.Workflow, Queue: schedule.Queue}, err
}

// signal sends one. A payload that is left empty is null.
func (d *dashboard) signal(r *http.Request, on Target) (string, error) {
	value, err := jsonOf(r.PostFormValue("payload"))
	if err != nil {
		return "", err
	}
	var options []workflow.SendOption
	if key := r.PostFormValue("key"); key != "" {
		options = append(options, workflow.WithKey(key))
	}
	name := r.PostFormValue("name")
	if other := strings.TrimSpace(r.PostFormValue("other")); other != "" {
		name = other
	}
	return runURL(on.RunID), d.svc.SendSignal(r.Context(), on.RunID, name, value, options...)
}

func (d *dashboard) decide(r *http.Request, on Target) (string, error) {
	value, err := jsonOf(r.PostFormValue("decision"))
	if err != nil {
		return "", err
	}
	by := strings.TrimSpace(r.PostFormValue("by"))
	if d.options.User != nil {
		by = d.options.User(r)
	}
	return runURL(on.RunID), d.svc.DecideApproval(r.Context(), workflow.ApprovalID(on.RunID, on.Step), by, value)
}

func jsonOf(text string) (json.RawMessage, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		text = "null"
	}
	if !json.Valid([]byte(text)) {
		return nil, &problem{http.StatusBadRequest, "That is not JSON", "A text needs quotes: \"like this\". Nothing was sent."}
	}
	return json.RawMessage(text), nil
}
