package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

type runsView struct {
	Filter   filter
	Filtered bool
	Statuses []choice
	Reasons  []choice
	Rows     []runRow
	First    string // address of the first page; "" on that
	Next     string // of the next one; "" on the last
	LookedTo moment // how far back was looked, when that is why the page ends
}

// A choice is one of those of a field.
type choice struct {
	Value, Label string
	Chosen       bool
}

// A runRow is a run in a list.
type runRow struct {
	ID, Workflow, Queue string
	Badge               badge
	Created             moment
	Took                string // until its end; "" before that
	About               string // what it waits for, or why it failed
}

// runs lists runs by the filter in the address.
func (d *dashboard) runs(r *http.Request) (page, error) {
	query := r.URL.Query()
	if id := strings.TrimSpace(query.Get("find")); id != "" {
		return page{redirect: runURL(id)}, nil
	}
	asked, err := filterOf(query)
	if err != nil {
		return page{}, err
	}
	found, err := d.svc.ListRuns(r.Context(), asked.RunFilter)
	if err != nil {
		return page{}, err
	}
	now := time.Now()
	view := runsView{Filter: asked, Filtered: asked.filters(), Rows: rowsOf(found.Runs, now)}
	for _, status := range []workflow.RunStatus{
		workflow.RunPending, workflow.RunRunning, workflow.RunSuspended, workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled,
	} {
		view.Statuses = append(view.Statuses, choice{string(status), string(status), asked.has(status)})
	}
	for _, reason := range []workflow.SuspendReason{
		workflow.SuspendedForTime, workflow.SuspendedForSignal, workflow.SuspendedForChildren, workflow.SuspendedBlocked, workflow.SuspendedByHand,
	} {
		view.Reasons = append(view.Reasons, choice{string(reason), reasons[reason], asked.SuspendedFor == reason})
	}
	if asked.Cursor != "" {
		view.First = addressOfList(asked.query())
	}
	if found.Next != "" {
		next := asked.query()
		next.Set("cursor", found.Next)
		view.Next = addressOfList(next)
	}
	view.LookedTo = momentOf(found.LookedTo, now)
	return page{template: "runs", title: "Runs", data: view, live: asked.Cursor == ""}, nil
}

func addressOfList(query url.Values) string {
	if len(query) == 0 {
		return "runs"
	}
	return "runs?" + query.Encode()
}

func rowsOf(runs []workflow.Run, now time.Time) []runRow {
	rows := make([]runRow, len(runs))
	for i, run := range runs {
		rows[i] = runRow{
			ID: run.ID, Workflow: run.Workflow, Queue: run.Queue, Badge: badgeOf(run.Status, run.SuspendedFor),
			Created: momentOf(run.CreatedAt, now), About: about(run, now),
		}
		if run.Status.Finished() {
			rows[i].Took = span(run.UpdatedAt.Sub(run.CreatedAt))
		}
	}
	return rows
}

// endOf is when a run ended, or now.
func endOf(run workflow.Run, now time.Time) time.Time {
	if run.Status.Finished() {
		return run.UpdatedAt
	}
	return now
}

// about says in a few words what there is to know of a run besides its status.
func about(run workflow.Run, now time.Time) string {
	var words []string
	if len(run.WaitsFor) > 0 && run.Status == workflow.RunSuspended {
		words = append(words, strings.Join(run.WaitsFor, ", "))
	}
	switch {
	case run.Err != nil && (run.Status == workflow.RunFailed || run.SuspendedFor == workflow.SuspendedBlocked):
		words = append(words, run.Err.Error())
	case run.Status == workflow.RunSuspended && !run.RunAt.IsZero():
		words = append(words, "until "+momentOf(run.RunAt, now).Text)
	case run.Status == workflow.RunPending && run.RunAt.After(now):
		words = append(words, "begins "+momentOf(run.RunAt, now).Text)
	}
	return cut(strings.Join(words, ", "), 160)
}
