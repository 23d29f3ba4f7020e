package webtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/web"
)

// A bench is a dashboard on a database, and a browser that looks at it.
type bench struct {
	t       *testing.T
	db      *sql.DB
	svc     *workflow.Service
	server  *httptest.Server
	browser context.Context
	excuses string // what the browser may complain of
}

func setup(t *testing.T, options web.Options) *bench {
	t.Helper()
	db := pgtest.New(t).Open(t, pgtest.PGX)
	svc, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	mux := http.NewServeMux()
	mux.Handle("/ops/workflows/", web.New(svc, options))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b := &bench{t: t, db: db, svc: svc, server: server, browser: browser(t)}
	b.listen()
	return b
}

// listen makes whatever a browser complains of an error of the test: refused by the policy, a script that fails, a request elsewhere, a
// dialog that some text has opened.
func (b *bench) listen() {
	chromedp.ListenTarget(b.browser, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.t.Errorf("script: %s", e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			refused := strings.Contains(e.Entry.Text, "the server responded with a status of 4") // pages that are to be
			if !refused && (b.excuses == "" || !strings.Contains(e.Entry.Text, b.excuses)) {
				b.t.Errorf("browser: %s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
			}
		case *page.EventJavascriptDialogOpening:
			b.t.Errorf("a dialog: %s", e.Message)
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, b.server.URL) {
				b.t.Errorf("a request to %s", e.Request.URL)
			}
		}
	})
	b.do(network.Enable(), log.Enable())
}

// address is that of a page.
func (b *bench) address(page string) string { return b.server.URL + "/ops/workflows/" + page }

// browser starts one, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	program, err := program()
	if err != nil {
		t.Skip("NOT RUN: no chromium here: make test-web installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.WindowSize(1280, 800),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to run as root otherwise
	}
	allocator, stop := chromedp.NewExecAllocator(kit.Context(t), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	return ctx
}

func program() (string, error) {
	var err error
	for name := range strings.FieldsSeq("chromium chromium-browser google-chrome") {
		var path string
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// do is what the browser does; an error ends the test.
func (b *bench) do(actions ...chromedp.Action) {
	b.t.Helper()
	kit.Must(b.t, chromedp.Run(b.browser, actions...))
}

// open goes to a page by its address.
func (b *bench) open(page string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.address(page)))
}

// click clicks on what is there, and waits until a text is to be seen.
func (b *bench) click(selector, then string) {
	b.t.Helper()
	b.do(chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
	b.sees(then)
}

// sees waits until a text is to be seen.
func (b *bench) sees(text string) {
	b.t.Helper()
	shown := ""
	defer func() {
		if !strings.Contains(shown, text) {
			b.t.Logf("instead of %q there is: %.2000s", text, shown)
		}
	}()
	// While one page gives way to the next there is nothing to be asked. The script has run when the page is complete.
	const asked = `document.readyState === "complete" ? document.body.innerText : ""`
	b.until(text+" is to be seen", func() bool {
		return chromedp.Run(b.browser, chromedp.Evaluate(asked, &shown)) == nil && strings.Contains(shown, text)
	})
}

// patience is how long the browser has: less than [kit.Patience], since it is asked for a hundred things.
const patience = time.Minute

func (b *bench) until(what string, happened func() bool) {
	b.t.Helper()
	end := time.Now().Add(patience)
	kit.Until(b.t, what, func() bool {
		if time.Now().After(end) {
			b.t.Fatalf("not within %s: %s", patience, what)
		}
		return happened()
	})
}

// lacks checks that nothing is there by a selector.
func (b *bench) lacks(selector string) {
	b.t.Helper()
	if n := evaluate[int](b, fmt.Sprintf("document.querySelectorAll(%q).length", selector)); n > 0 {
		b.t.Errorf("%d of %s", n, selector)
	}
}

// evaluate asks the page.
func evaluate[T any](b *bench, script string) (value T) {
	b.t.Helper()
	b.do(chromedp.Evaluate(script, &value))
	return value
}

// press presses keys, one after the other.
func (b *bench) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.do(chromedp.KeyEvent(key))
	}
}

// stands waits until a run has a status.
func (b *bench) stands(id string, status workflow.RunStatus) {
	b.t.Helper()
	b.until(id+" is "+string(status), func() bool {
		run, err := b.svc.GetRun(b.browser, id)
		kit.Must(b.t, err)
		return run.Status == status
	})
}
