package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/sqlworkflow/workflow"
)

// A problem is an error that a page is made of.
type problem struct {
	status int
	title  string
	detail string
}

func (p *problem) Error() string { return p.title + ": " + p.detail }

var errForbidden = &problem{
	http.StatusForbidden, "You may not do that", "The application that serves this page does not let you. Ask those who run it.",
}

// outcomes are what the service's errors look like here; the first one that fits is taken.
var outcomes = []struct {
	err    error
	status int
	title  string
}{
	{workflow.ErrRunNotFound, http.StatusNotFound, "There is no such run"},
	{workflow.ErrQueueNotFound, http.StatusNotFound, "There is no such queue"},
	{workflow.ErrScheduleNotFound, http.StatusNotFound, "There is no such schedule"},
	{workflow.ErrRunFinished, http.StatusConflict, "The run is over"},
	{workflow.ErrRunOwned, http.StatusConflict, "A worker executes the run"},
	{workflow.ErrUniqueTaken, http.StatusConflict, "Another run has its key"},
	{workflow.ErrScheduleBusy, http.StatusConflict, "The last run of the schedule is not finished"},
	{workflow.ErrPayloadTooLarge, http.StatusRequestEntityTooLarge, "That is too large"},
	{workflow.ErrInvalidArgument, http.StatusBadRequest, "That cannot be done so"},
	{workflow.ErrLockTimeout, http.StatusServiceUnavailable, "Somebody else holds it"},
	{workflow.ErrTimeout, http.StatusServiceUnavailable, "The database did not answer in time"},
	{workflow.ErrClosed, http.StatusServiceUnavailable, "The service is closed"},
}

func problemOf(err error) *problem {
	var own *problem
	var transition *workflow.TransitionError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &transition):
		return &problem{http.StatusConflict, "The run's status does not allow that", err.Error()}
	}
	for _, outcome := range outcomes {
		if errors.Is(err, outcome.err) {
			return &problem{outcome.status, outcome.title, err.Error()}
		}
	}
	return &problem{http.StatusInternalServerError, "Something went wrong", err.Error()}
}

// fail answers with a page that says what is wrong. What is the server's fault is logged as well.
func (d *dashboard) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		d.options.Logger.LogAttrs(r.Context(), slog.LevelError, "dashboard failed", slog.String("page", r.URL.Path), slog.Any("error", err))
	}
	d.render(w, r, page{template: "problem", title: p.title, data: p.view(), status: p.status})
}

type problemView struct{ Title, Detail string }

func (p *problem) view() problemView { return problemView{p.title, p.detail} }
