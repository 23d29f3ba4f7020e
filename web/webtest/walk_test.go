package webtest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

// Every page is reached by clicking, from the overview on.
func TestWalkThroughPages(t *testing.T) {
	b := setup(t, web.Options{Allow: everything})
	paint(t, b.db)
	b.open("")
	b.sees("Needs a look")
	b.click(`.switch a:nth-child(1)`, "Of the runs created in the last 1 hour")
	b.click(`.switch a:nth-child(3)`, "Of the runs created in the last 7 days")
	b.click(`.tile.failed a`, "the bank said no")
	if at := evaluate[string](b, "location.search"); at != "?status=failed" {
		t.Errorf("failed runs are at %q", at)
	}
	b.click(`nav a[href="queues"]`, "4 at once; 2 per partition")
	b.click(`nav a[href="schedules"]`, "Europe/Berlin")
	b.click(`nav a[href="approvals"]`, "umbrella leaks")
	b.click(`nav a[href="workers"]`, "Steps in flight for long")
	b.click(`a[href="run?id=0199c2a0-running"]`, "A step takes long")
	b.click(`nav a[href="runs"]`, "thumbnail")
	b.click(`a[data-next]`, "← Newest")
	b.click(`a[data-first]`, "Older →")
	b.do(chromedp.SendKeys(`input[name=attributes]`, "tenant=acme", chromedp.ByQuery))
	b.click(`.filters button`, "0199c2f1-everything")
	b.click(`a[href="run?id=0199c2f1-everything"]`, "send the confirmation mail")
	b.click(`.tl li:nth-child(2) summary`, "connection refused")
	b.click(`.tl li:nth-child(2) .error summary`, "/src/shop/charge.go:42")
	b.click(`.tl li:nth-child(6) summary`, "0199c2f1-everything.1a")
	b.click(`.tl li:nth-child(6) a`, "Called by")
	b.click(`dd a[href="run?id=0199c2f1-everything"]`, "cool down")
	b.do(chromedp.Click(`.brand`, chromedp.ByQuery))
	b.sees("Needs a look")
	for address, want := range map[string]string{
		"run?id=0199c2a6-hostile": "<img src=x onerror=alert(3)>", "run?id=0199c2a4-blocked": "Its code does not match its record",
		"run?id=0199c2a1-retries": "attempt 3 of 5", "run?id=0199c2a5-unserved": "No worker knows its workflow",
		"run?id=none": "There is no such run", "nothing": "There is no such page", "runs?status=lost": "no such status",
	} {
		b.open(address)
		b.sees(want)
	}
}

// Every action is a form that does what it says.
func TestWalkThroughActions(t *testing.T) {
	b := setup(t, web.Options{Allow: everything})
	paint(t, b.db)
	b.open("run?id=0199c2a3-waits")
	b.click(`details.act summary`, "Payload, as JSON")
	b.do(chromedp.SendKeys(`textarea[name=payload]`, `{cents}`, chromedp.ByQuery))
	b.click(`form[action=signal] button`, "That is not JSON")
	b.open("run?id=0199c2a3-waits")
	b.click(`details.act summary`, "Payload, as JSON")
	b.do(chromedp.SendKeys(`textarea[name=payload]`, `{"cents": 4990}`, chromedp.ByQuery))
	b.click(`form[action=signal] button`, "The signal is sent.")
	b.sees(`"cents": 4990`)

	b.click(`details.act:last-of-type summary`, "Stops the run for good")
	b.click(`form[action=cancel] button`, "Cancelled.")
	b.stands("0199c2a3-waits", workflow.RunCancelled)
	b.lacks(`form[action=cancel]`)
	b.click(`form[action=resume] button`, "Resumed")
	b.stands("0199c2a3-waits", workflow.RunPending)

	b.open("approvals")
	b.do(chromedp.SendKeys(`input[name=by]`, "anna", chromedp.ByQuery))
	b.click(`form[action=decide] button`, "The decision is sent.")
	b.sees("approval:manager")

	b.open("queues")
	b.click(`form[action=pause-queue] button`, "The queue is paused")
	b.click(`form[action=resume-queue] button`, "The queue goes on.")
	b.open("schedules")
	b.click(`form[action=pause-schedule] button`, "The schedule is paused")
	b.click(`form[action=resume-schedule] button`, "The schedule goes on")
	b.click(`form[action=trigger] button`, "Started: this is the run.")
	b.sees("nobody registers this")
}

// Who may only look finds no button, on any page, and is told so.
func TestWalkReadOnly(t *testing.T) {
	b := setup(t, web.Options{Allow: everything, ReadOnly: true})
	paint(t, b.db)
	for address, want := range pages {
		b.open(address)
		b.sees(want)
		b.sees("read only")
		b.lacks(`form[method=post]`)
	}
	// What a page that is open still sends is refused.
	b.do(chromedp.Evaluate(`{
		const form = document.createElement("form");
		form.method = "post"; form.action = "pause-queue";
		form.innerHTML = '<input name="queue" value="images">';
		document.body.append(form); form.submit();
	}`, nil))
	b.sees("You may not do that")
}

// pages are all that there are, and what is to be seen there.
var pages = map[string]string{
	"": "Needs a look", "runs": "thumbnail", "queues": "images", "schedules": "nightly report", "approvals": "umbrella leaks",
	"workers": "charge card", "run?id=0199c2f1-everything": "cool down", "run?id=0199c2a2-asks": "umbrella leaks", "run?id=0199c2a6-hostile": "onerror",
	"run?id=0199c2a0-running": "A step takes long", "run?id=0199c2a5-unserved": "No worker knows its workflow",
}

// Who may not look sees nothing of what is there.
func TestWalkUnauthorised(t *testing.T) {
	b := setup(t, web.Options{Allow: nothing})
	paint(t, b.db)
	for address, hidden := range pages {
		b.open(address)
		b.sees("You may not do that")
		if text := evaluate[string](b, "document.documentElement.outerHTML"); strings.Contains(text, hidden) {
			t.Errorf("%q shows %q", address, hidden)
		}
	}
}

// A page that stays open follows what happens, and leaves alone what somebody types or has unfolded.
func TestLive(t *testing.T) {
	b := setup(t, web.Options{Allow: everything, Refresh: 50 * time.Millisecond})
	paint(t, b.db)
	ctx := context.WithoutCancel(t.Context())
	b.open("run?id=0199c2a3-waits")
	b.click(`details.act summary`, "Payload, as JSON")
	b.do(chromedp.SendKeys(`textarea[name=payload]`, `"half a word`, chromedp.ByQuery))
	b.click(`.tl summary`, "waits")
	kit.Must(t, b.svc.SendSignal(ctx, "0199c2a3-waits", "note", "look at this"))
	b.sees("look at this")
	kit.Must(t, b.svc.Cancel(ctx, "0199c2a3-waits"))
	b.sees("cancelled")
	if text := evaluate[string](b, "document.querySelector('textarea').value"); text != `"half a word` {
		t.Errorf("what was typed is %q now", text)
	}
	b.open("run?id=0199c2a2-asks")
	b.sees("Decide")
	kit.Must(t, b.svc.Cancel(ctx, "0199c2a2-asks"))
	b.sees("Resume")
	b.lacks(`form[action=decide]`)

	b.open("runs?status=failed")
	b.sees("the bank said no")
	kit.Must(t, b.svc.UpdateRunStatus(ctx, "0199c2a1-retries", workflow.RunFailed, nil, &workflow.Error{Message: "gave up at last"}))
	b.sees("gave up at last")
	b.click(`#live button`, "Paused")
	kit.Must(t, b.svc.UpdateRunStatus(ctx, "0199c2b30-image", workflow.RunFailed, nil, &workflow.Error{Message: "nobody answered"}))
	b.click(`#live button`, "nobody answered")
	b.excuses = "status of 500"
	kit.Exec(t, b.db, `ALTER TABLE workflows.workflow_runs RENAME TO away`)
	b.sees("No answer")
	kit.Exec(t, b.db, `ALTER TABLE workflows.away RENAME TO workflow_runs`)
	b.sees("Live")
}

// All that is needed at three in the morning can be reached without a mouse.
func TestKeys(t *testing.T) {
	b := setup(t, web.Options{Allow: everything})
	paint(t, b.db)
	b.open("")
	b.sees("Needs a look")
	for key, want := range map[string]string{"r": "Older →", "q": "per partition", "s": "Europe/Berlin", "a": "umbrella leaks", "w": "in flight for long", "o": "Needs a look"} {
		b.press("g", key)
		b.sees(want)
	}
	b.press("g", "r")
	b.sees("Older →")
	b.press("?")
	b.sees("next row")
	b.press(kb.Escape)
	b.press("j", "j", "k", "j")
	second := evaluate[string](b, "document.querySelector('tr.at a').getAttribute('href')")
	if want := evaluate[string](b, "document.querySelectorAll('tr[data-row] a')[1].getAttribute('href')"); second != want {
		t.Errorf("after j, j, k, j the row is %s, want %s", second, want)
	}
	b.press(kb.Enter)
	b.sees("Its queue is full")
	b.press("/")
	b.sees("Created from")
	b.until("the field has the focus", func() bool { return evaluate[string](b, "document.activeElement.id") == "find" })
	b.press("0199c2f1-everything", kb.Enter)
	b.sees("send the confirmation mail")
}

// On a phone no page is wider than it, and both schemes have colours of their own.
func TestPhoneAndSchemes(t *testing.T) {
	b := setup(t, web.Options{Allow: everything})
	paint(t, b.db)
	colours := make(map[string]bool)
	for _, scheme := range []string{"light", "dark"} {
		b.do(look(scheme, 390, 844))
		for address, want := range pages {
			b.open(address)
			b.sees(want)
			b.fits(address, 390)
		}
		colours[evaluate[string](b, "getComputedStyle(document.body).backgroundColor")] = true
	}
	if len(colours) != 2 {
		t.Errorf("the backgrounds are %v", colours)
	}
	b.do(look("light", 1280, 800))
	for address := range pages {
		b.open(address)
		b.fits(address, 1280)
	}
}

// fits checks that nothing is beside the screen.
func (b *bench) fits(address string, width int) {
	b.t.Helper()
	if wide := evaluate[int](b, "document.documentElement.scrollWidth"); wide > width {
		b.t.Errorf("%q is %d pixels wide, at %d: %s", address, wide, width, evaluate[string](b, `[...document.querySelectorAll("body *")].
			filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 100)).slice(0, 3).join("\n")`))
	}
}
