package web_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

// Wherever it is mounted, stripped of its prefix or not, all links lead to pages of it.
func TestPrefixes(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	dashboard := web.New(b.svc, everything)
	mux := http.NewServeMux()
	mux.Handle("/a/b/", dashboard)
	mux.Handle("/c/", http.StripPrefix("/c", dashboard))
	mux.Handle("/bare", http.StripPrefix("/bare", dashboard))
	mux.Handle("/bare/", http.StripPrefix("/bare", dashboard))
	mux.Handle("/", dashboard)
	server := httptest.NewServer(mux)
	defer server.Close()
	client := server.Client()
	for _, prefix := range []string{"/a/b/", "/c/", "/", "/bare", "/bare/"} {
		seen := map[string]bool{}
		left := []string{server.URL + prefix}
		for len(left) > 0 {
			at := left[0]
			left = left[1:]
			if seen[at] {
				continue
			}
			seen[at] = true
			answer, err := client.Get(at)
			kit.Must(t, err)
			text := body(t, answer)
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d", at, answer.StatusCode)
			}
			if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
				continue
			}
			for _, found := range regexp.MustCompile(`(?:href|src|action)="([^"#]+)"`).FindAllStringSubmatch(text, -1) {
				to, err := answer.Request.URL.Parse(strings.ReplaceAll(found[1], "&amp;", "&"))
				kit.Must(t, err)
				if !strings.HasPrefix(to.Path, strings.TrimSuffix(prefix, "/")+"/") {
					t.Errorf("%s leads to %s, which is not below %s", at, to, prefix)
				}
				if !strings.Contains(found[0], "action=") {
					left = append(left, to.String())
				}
			}
		}
		if len(seen) < 5 || !seen[server.URL+strings.TrimSuffix(prefix, "/")+"/run?id=r1"] {
			t.Errorf("from %s only %v is reached", prefix, seen)
		}
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Get(server.URL + "/bare")
	kit.Must(t, err)
	body(t, answer)
	if to := answer.Header.Get("Location"); to != "bare/" {
		t.Errorf("/bare leads to %q", to)
	}
	b.get(everything, "no-such-page").is(http.StatusNotFound, "There is no such page")
}

// Each answer, refused ones too, has the headers that keep a page from doing more than it should; and no page has script or style of its own.
func TestHeaders(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	refused := request("cancel", "id", "r1")
	refused.Header.Set("Sec-Fetch-Site", "cross-site")
	answers := []answer{b.send(everything, refused), b.get(everything, "nothing"), b.get(everything, "run?id=none")}
	for _, screen := range screens {
		a := b.get(everything, screen)
		answers = append(answers, a)
		if found := regexp.MustCompile(`(?i)<style|<script>| style=| on[a-z]+="|https?://|javascript:`).FindString(a.text()); found != "" {
			t.Errorf("%q has %q", screen, found)
		}
	}
	for _, a := range answers {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
				"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
			"Content-Type": "text/html; charset=utf-8",
		} {
			if got := a.Header().Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
	style := regexp.MustCompile(`href="(style\.css[^"]+)"`).FindStringSubmatch(b.get(everything, "runs").text())[1]
	if a := b.get(everything, style).is(200); !strings.Contains(a.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("a style sheet with its version may be kept: %q", a.Header().Get("Cache-Control"))
	}
}

// Whatever users wrote is text.
func TestWhatUsersWroteIsText(t *testing.T) {
	b := setup(t)
	const evil = `"'></pre><script>alert(1)</script><img src=x onerror=alert(2)>`
	_, err := b.svc.CreateRunWithID(t.Context(), evil, evil, evil)
	kit.Must(t, err)
	kit.Exec(t, b.db, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at) VALUES ($1, $1, 'succeeded', to_jsonb($1::text), 1)`, evil)
	kit.Must(t, b.svc.SendSignal(t.Context(), evil, "note", evil, workflow.WithKey(evil)))
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: evil}))
	kit.Exec(t, b.db, `INSERT INTO workflows.workflow_attributes SELECT created_at, id, $1, $1 FROM workflows.workflow_runs`, evil)
	failure := &workflow.Error{Message: evil, Code: workflow.Code(evil), Stack: evil, Step: evil}
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), evil, workflow.RunFailed, nil, failure))
	pages := append([]string{"runs?workflow=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "run?id=%3Cscript%3Ealert(1)%3C/script%3E"}, screens...)
	pages[len(pages)-1] = "run?id=%22%27%3E%3C%2Fpre%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%3Cimg+src%3Dx+onerror%3Dalert%282%29%3E"
	for _, page := range pages {
		b.get(everything, page).lacks("<script>alert", "<img", `"'>`)
	}
	b.get(everything, pages[len(pages)-1]).is(200, "alert(1)")
}

// Hidden payloads are on no page, whoever looks.
func TestHiddenPayloads(t *testing.T) {
	b := setup(t)
	b.created("r1", "secret input")
	kit.Must(t, b.svc.SetStepResult(t.Context(), "r1", "look", "secret result"))
	kit.Must(t, b.svc.SendSignal(t.Context(), "r1", "note", "secret signal"))
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, seq, started_at, updated_at, request)
		SELECT id, 'manager', 'scheduled', 'approval', 2, created_at, created_at, '{"from": ["anna"], "for": "secret request"}' FROM workflows.workflow_runs`)
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), "r1", workflow.RunRunning, nil, nil))
	b.get(everything, "run?id=r1").is(200, "secret input", "secret result", "secret signal", "secret request")
	hidden := everything
	hidden.HidePayloads = true
	pages := append([]string{"run?id=r1"}, screens...)
	for _, page := range pages {
		b.get(hidden, page).is(200).lacks("secret")
	}
	b.get(hidden, "run?id=r1").is(200, "hidden", "look", "note", "anna")
	kit.Must(t, b.svc.UpdateRunStatus(t.Context(), "r1", workflow.RunCompleted, "secret output", nil))
	b.get(everything, "run?id=r1").is(200, "secret output")
	b.get(hidden, "run?id=r1").is(200).lacks("secret")
}

// A payload of any size makes a page of a bounded one.
func TestLargePayload(t *testing.T) {
	b := setup(t)
	b.created("r1", strings.Repeat("ä", 300_000))
	a := b.get(everything, "run?id=r1").is(200, "the first 8.0 kB of")
	if len(a.text()) > 40_000 {
		t.Errorf("the page has %d bytes", len(a.text()))
	}
}

// A page that stays open asks for the part that changes alone.
func TestLivePart(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	r := httptest.NewRequest(http.MethodGet, "/ops/runs", http.NoBody)
	r.Header.Set("Workflow-Live", "1")
	a := b.send(everything, r).is(200, `<section id="list" data-live>`, "r1")
	a.lacks("<html")
	b.get(everything, "runs").is(200, `data-live="5000"`)
	still := everything
	still.Refresh = -1
	b.get(still, "runs").is(200, `data-live="0"`)
}

// What is wrong is said, and what is the server's fault has its status.
func TestTrouble(t *testing.T) {
	b := setup(t)
	kit.Exec(t, b.db, `ALTER TABLE workflows.workflow_runs RENAME TO away`)
	b.get(web.Options{}, "runs").is(http.StatusInternalServerError, "Something went wrong", "workflow_runs")
	closed, err := workflow.New(workflow.Config{DB: b.db})
	kit.Must(t, err)
	kit.Must(t, closed.Close())
	a := answer{httptest.NewRecorder(), t}
	web.New(closed, web.Options{}).ServeHTTP(a, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	a.is(http.StatusServiceUnavailable, "The service is closed")
}
