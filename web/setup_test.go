package web_test

import (
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/web"
)

// A bench is a database with a service that does not work, and dashboards on it.
type bench struct {
	t   *testing.T
	db  *sql.DB
	svc *workflow.Service
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t).Open(t, pgtest.PGX)
	svc, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	return &bench{t: t, db: db, svc: svc}
}

// everything may be done by everybody.
var everything = web.Options{Allow: func(*http.Request, web.Action, web.Target) bool { return true }}

// An answer is what a browser gets.
type answer struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// get asks for a page by its address below the prefix /ops/.
func (b *bench) get(options web.Options, page string) answer {
	b.t.Helper()
	return b.send(options, httptest.NewRequest(http.MethodGet, "/ops/"+page, http.NoBody))
}

// post sends a form as a page of the dashboard does.
func (b *bench) post(options web.Options, page string, form ...string) answer {
	b.t.Helper()
	return b.send(options, request(page, form...))
}

// request is a form, of names and values in turns.
func request(page string, form ...string) *http.Request {
	values := make(url.Values)
	for i := 0; i < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "/ops/"+page, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

func (b *bench) send(options web.Options, r *http.Request) answer {
	b.t.Helper()
	a := answer{httptest.NewRecorder(), b.t}
	web.New(b.svc, options).ServeHTTP(a, r)
	return a
}

func (a answer) text() string { return a.Body.String() }

// content is the page without what is around it.
func (a answer) content() string {
	_, text, _ := strings.Cut(a.text(), "<main")
	text, _, _ = strings.Cut(text, "</main")
	return text
}

// is checks the status, and what has to stand there.
func (a answer) is(status int, words ...string) answer {
	a.t.Helper()
	if a.Code != status {
		a.t.Errorf("status %d, want %d: %.3000s", a.Code, status, a.text())
	}
	for _, word := range words {
		if !strings.Contains(a.text(), word) {
			a.t.Errorf("%q is not in:\n%s", word, a.content())
		}
	}
	return a
}

// lacks checks what must not stand there.
func (a answer) lacks(words ...string) {
	a.t.Helper()
	for _, word := range words {
		if strings.Contains(a.text(), word) {
			a.t.Errorf("%q is in:\n%s", word, a.content())
		}
	}
}

// leads checks where the answer leads to.
func (a answer) leads(to string) {
	a.t.Helper()
	if a.Code != http.StatusSeeOther || a.Header().Get("Location") != to {
		a.t.Errorf("status %d to %q, want %d to %q: %s", a.Code, a.Header().Get("Location"), http.StatusSeeOther, to, a.text())
	}
}

// created makes a run that nobody executes.
func (b *bench) created(id string, input any) {
	b.t.Helper()
	_, err := b.svc.CreateRunWithID(b.t.Context(), id, "order", input)
	kit.Must(b.t, err)
}

// works has a service of its own execute a workflow until the test ends.
func (b *bench) works(definitions ...workflow.Definition) *workflow.Service {
	b.t.Helper()
	svc, err := workflow.New(workflow.Config{DB: b.db, Lease: kit.Patience})
	kit.Must(b.t, err)
	b.t.Cleanup(func() { kit.Must(b.t, svc.Close()) })
	svc.Register(definitions...)
	kit.Work(b.t, svc)
	return svc
}

// stands waits until a run has a status.
func (b *bench) stands(id string, status workflow.RunStatus) {
	b.t.Helper()
	kit.Until(b.t, id+" is "+string(status), func() bool {
		run, err := b.svc.GetRun(context.WithoutCancel(b.t.Context()), id)
		kit.Must(b.t, err)
		return run.Status == status
	})
}

// body reads all of an answer that came over the wire.
func body(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	kit.Must(t, err)
	return string(text)
}
