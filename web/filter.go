package web

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow"
)

// runsPage is how many runs a page of the list has.
const runsPage = 50

// A filter is what the address of a list of runs asks for.
type filter struct {
	workflow.RunFilter
	Attributes string // as they were typed: name=value, separated by spaces
	From, To   string // as they were typed
}

// times are the ways in which a time may be typed, all in UTC.
var times = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

func filterOf(query url.Values) (filter, error) {
	f := filter{
		RunFilter: workflow.RunFilter{
			Workflow: strings.TrimSpace(query.Get("workflow")), Queue: strings.TrimSpace(query.Get("queue")), ParentID: query.Get("parent"),
			SuspendedFor: workflow.SuspendReason(query.Get("for")), Cursor: query.Get("cursor"), Limit: runsPage, MaxLook: most,
		},
		Attributes: query.Get("attributes"), From: query.Get("from"), To: query.Get("to"),
	}
	for _, status := range query["status"] {
		if status != "" {
			f.Statuses = append(f.Statuses, workflow.RunStatus(status))
		}
	}
	for word := range strings.FieldsSeq(f.Attributes) {
		name, value, found := strings.Cut(word, "=")
		if !found || name == "" {
			return f, &problem{400, "An attribute is written name=value", "Several are separated by spaces. This is none: " + word}
		}
		if f.RunFilter.Attributes == nil {
			f.RunFilter.Attributes = make(map[string]string)
		}
		f.RunFilter.Attributes[name] = value
	}
	if n := len(f.RunFilter.Attributes); n > 0 { // each run is looked up by itself then, once for each of them
		f.MaxLook = most / 5 / n
	}
	var err error
	if f.CreatedFrom, err = timeOf(f.From); err != nil {
		return f, err
	}
	f.CreatedBefore, err = timeOf(f.To)
	return f, err
}

func timeOf(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range times {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, &problem{400, "That is no time", "Write it as 2026-11-26 15:04, in UTC. This is none: " + text}
}

// query is the address of the list, for a page of it or with one thing changed.
func (f filter) query() url.Values {
	query := make(url.Values)
	for name, value := range map[string]string{
		"workflow": f.Workflow, "queue": f.Queue, "parent": f.ParentID, "for": string(f.SuspendedFor),
		"attributes": f.Attributes, "from": f.From, "to": f.To,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for _, status := range f.Statuses {
		query.Add("status", string(status))
	}
	return query
}

func (f filter) has(status workflow.RunStatus) bool { return slices.Contains(f.Statuses, status) }

// filters reports whether anything but the page is asked for.
func (f filter) filters() bool { return len(f.query()) > 0 }
