package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// said is what a command that goes on has printed until now.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(text)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A going is a command that goes on until it is ended.
type going struct {
	t           *testing.T
	out, errors said
	ctrlC       context.CancelFunc
	code        chan int
}

// begin calls a command, on a terminal of that width: 0 for none.
func begin(t *testing.T, databaseURL string, width int, args ...string) *going {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g := &going{t: t, ctrlC: cancel, code: make(chan int, 1)}
	c := &cli{
		in: strings.NewReader(""), out: &g.out, err: &g.errors, asks: width > 0,
		size: func() (int, int) { return width, width / 3 },
		getenv: func(name string) string {
			if name == "DATABASE_URL" {
				return databaseURL
			}
			return ""
		},
	}
	go func() { g.code <- c.run(ctx, args) }()
	t.Cleanup(func() {
		cancel()
		g.ends(-1)
	})
	return g
}

var dashboardURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+/`)

// dashboard returns the address of the dashboard once that is there.
func (g *going) dashboard() (address string) {
	g.t.Helper()
	kit.Until(g.t, "the dashboard is there", func() bool {
		select {
		case code := <-g.code:
			g.t.Fatalf("ended with %d:\n%s%s", code, g.out.String(), g.errors.String())
		default:
		}
		address = dashboardURL.FindString(g.out.String())
		return address != ""
	})
	return address
}

// ends waits for the end; a code below 0 is any.
func (g *going) ends(want int) {
	g.t.Helper()
	code := kit.Receive(g.t, "the command ends", g.code)
	if g.code <- code; want >= 0 && code != want {
		g.t.Errorf("exit code %d, want %d:\n%s%s", code, want, g.out.String(), g.errors.String())
	}
}

// request asks for a page under a name of the host.
func request(t *testing.T, method, address, host string, form url.Values) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	kit.Must(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if host != "" {
		r.Host = host
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	kit.Must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	kit.Must(t, err)
	return answer.StatusCode, string(text)
}

func TestDashboardIsServed(t *testing.T) {
	t.Parallel()
	if r := invoke(t.Context(), pgtest.Empty(t).URL(), "ui", "--addr", "127.0.0.1:0"); r.code != exitFailed || !strings.Contains(r.stderr, "migrate") {
		t.Errorf("without tables: %+v", r)
	}
	database := pgtest.New(t)
	address := database.URL()
	db := database.Open(t, pgtest.PQ)
	kit.Exec(t, db, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
		VALUES ('order 1', 'take-order', 'pending', '"the input"', 1, 1, 1), ('order 2', 'take-order', 'pending', '1', 1, 1, 1)`)

	g := begin(t, address, 0, "ui", "--addr", "127.0.0.1:0")
	at := g.dashboard()
	if status, body := request(t, http.MethodGet, at+"run?id=order+1", "", nil); status != 200 || !strings.Contains(body, "the input") {
		t.Errorf("%d: %s", status, body)
	}
	port := strings.Split(strings.TrimSuffix(at, "/"), ":")[2]
	for host, want := range map[string]int{"localhost:" + port: 200, "[::1]:" + port: 200, "evil.example": 421, "evil.example:" + port: 421} {
		if status, body := request(t, http.MethodGet, at, host, nil); status != want || want != 200 && !strings.Contains(body, "--host evil.example") {
			t.Errorf("as %s: %d, want %d: %.200s", host, status, want, body)
		}
	}
	if status, _ := request(t, http.MethodPost, at+"cancel", "", url.Values{"id": {"order 1"}}); status != http.StatusSeeOther {
		t.Errorf("cancel: %d", status)
	}
	g.ctrlC()
	g.ends(exitOK)
	if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+port); err == nil {
		t.Error("it is still served")
	}

	g = begin(t, address, 0, "ui", "--addr", "127.0.0.1:0", "--read-only", "--hide-payloads", "--host", "ops.example")
	at = g.dashboard()
	if status, body := request(t, http.MethodGet, at+"run?id=order+2", "ops.example", nil); status != 200 || strings.Contains(body, "the input") {
		t.Errorf("%d: %s", status, body)
	}
	if status, _ := request(t, http.MethodPost, at+"cancel", "", url.Values{"id": {"order 2"}}); status != http.StatusForbidden {
		t.Errorf("cancel, read-only: %d", status)
	}
	got := kit.Column[string](t, db, `SELECT id || ' ' || status FROM workflows.workflow_runs ORDER BY id`)
	if want := "order 1 cancelled, order 2 pending"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDashboardIsNotForOthers(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	for address, says := range map[string]string{
		":0": "add --read-only", "0.0.0.0:0": "add --read-only", "nonsense": "want host:port", "127.0.0.1:-1": "--addr 127.0.0.1:-1",
	} {
		if r := invoke(t.Context(), database.URL(), "ui", "--addr", address); r.code == exitOK || !strings.Contains(r.stderr, says) {
			t.Errorf("%s: %+v, want %q", address, r, says)
		}
	}
}
