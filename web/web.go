package web

import (
	"net/http"
	"strings"

	"github.com/sqlworkflow/workflow"
)

// New returns the dashboard of a service, which need not work itself. It does no I/O; the service must have been initialised by the time
// of the first request ([workflow.Service.Init]) and be closed by the application.
func New(svc *workflow.Service, options Options) http.Handler {
	options = options.withDefaults()
	d := &dashboard{svc: svc, options: options, pages: parsePages()}
	return secured(options.CrossOrigin, http.HandlerFunc(d.serve), d)
}

type dashboard struct {
	svc     *workflow.Service
	options Options
	pages   pages
}

// A page shows something.
type page struct {
	template string
	title    string
	data     any
	live     bool   // its sections are asked for again
	status   int    // 0: 200
	redirect string // where it is instead; "": here
}

// A screen can be looked at.
type screen struct {
	show   func(*dashboard, *http.Request) (page, error)
	checks bool // it asks itself whether the run may be looked at, once it knows it
}

// screens are by the last segment of the path.
var screens = map[string]screen{
	"":          {show: (*dashboard).overview},
	"runs":      {show: (*dashboard).runs},
	"run":       {show: (*dashboard).run, checks: true},
	"queues":    {show: (*dashboard).queues},
	"schedules": {show: (*dashboard).schedules},
	"approvals": {show: (*dashboard).approvals},
	"workers":   {show: (*dashboard).workers},
}

// serve looks at the last segment of the path alone: the rest is the place where the dashboard is mounted.
func (d *dashboard) serve(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if serveAsset(w, r, name) {
		return
	}
	if name == "" && !strings.HasSuffix(r.URL.Path, "/") { // stripped of all of it: links would lead beside it
		redirect(w, strings.TrimPrefix(lastSegment(r.RequestURI), "/")+"/")
		return
	}
	if s, ok := screens[name]; ok {
		d.show(w, r, s)
		return
	}
	if a, ok := acts[name]; ok {
		d.act(w, r, name, a)
		return
	}
	d.fail(w, r, &problem{http.StatusNotFound, "There is no such page", "Nothing is known by this address."})
}

func (d *dashboard) show(w http.ResponseWriter, r *http.Request, s screen) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		d.fail(w, r, &problem{http.StatusMethodNotAllowed, "This page can only be looked at", ""})
		return
	}
	if !s.checks && !d.options.allows(r, ActionView, Target{}) {
		d.fail(w, r, errForbidden)
		return
	}
	p, err := s.show(d, r)
	switch {
	case err != nil:
		d.fail(w, r, err)
	case p.redirect != "":
		redirect(w, p.redirect)
	default:
		d.render(w, r, p)
	}
}

// redirect leads to another page below the same prefix, which the handler does not know: http.Redirect would make the address absolute.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

func lastSegment(uri string) string {
	path, _, _ := strings.Cut(uri, "?")
	return path[strings.LastIndexByte(path, '/')+1:]
}
