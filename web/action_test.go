package web_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

var (
	paid    = workflow.DefineSignal[map[string]int]("paid")
	manager = workflow.DefineApproval[bool]("manager")
)

// waiter waits for a signal, then for a decision, and tells both.
var waiter = workflow.Define("waiter", func(ctx context.Context, _ int) (string, error) {
	sent, err := paid.Wait(ctx, time.Hour)
	if err != nil {
		return "", err
	}
	decision, err := manager.Ask(ctx, workflow.ApprovalRequest{From: []string{"anna"}, For: sent})
	if err != nil {
		return "", err
	}
	if !decision.Value {
		return "", &workflow.Error{Message: "refused by " + decision.By}
	}
	return "allowed by " + decision.By, nil
})

// What a run waits for can be sent from its page, and it goes on.
func TestSignalAndDecide(t *testing.T) {
	b := setup(t)
	svc := b.works(waiter)
	_, err := waiter.Start(t.Context(), svc, 1, workflow.WithRunID("r1"))
	kit.Must(t, err)
	b.stands("r1", workflow.RunSuspended)
	b.get(everything, "run?id=r1").is(200, "<option>paid</option>", "Cancel…").lacks(`action="resume"`)
	b.post(everything, "signal", "id", "r1", "name", "paid", "payload", "{cents}").is(http.StatusBadRequest, "That is not JSON")
	b.post(everything, "signal", "id", "r1", "name", "approval:manager", "payload", "1").is(http.StatusBadRequest, "must not contain")
	b.post(everything, "signal", "id", "r1", "name", "paid", "payload", `{"cents": 4990}`, "key", "k1").leads("run?id=r1&done=signal")
	b.get(everything, "run?id=r1&done=signal").is(200, "The signal is sent.")

	kit.Until(t, "somebody is asked", func() bool {
		open, err := b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{})
		return err == nil && len(open.Approvals) == 1
	})
	b.get(everything, "run?id=r1").is(200, "asked", "of anna", "4990", "Your name")
	signed := everything
	signed.User = func(*http.Request) string { return "anna" }
	b.get(signed, "run?id=r1").is(200, "You decide as <b>anna</b>").lacks("Your name")
	// Whoever is signed in decides, whatever the form says.
	b.post(signed, "decide", "id", "r1", "step", "manager", "decision", "true", "by", "berta").leads("run?id=r1&done=decide")
	b.stands("r1", workflow.RunCompleted)
	b.get(everything, "run?id=r1").is(200, "allowed by anna").lacks("Send a signal", "Cancel…", `action="decide"`)
	b.post(everything, "signal", "id", "r1", "name", "paid", "payload", "1").is(http.StatusConflict, "The run is over")
	b.post(everything, "decide", "id", "r1", "step", "manager", "decision", "true", "by", "").is(http.StatusBadRequest)
}

// A run is cancelled and resumed, and what its status does not allow is refused with the reason.
func TestCancelAndResume(t *testing.T) {
	b := setup(t)
	b.created("r 1", 1)
	b.post(everything, "resume", "id", "r 1").is(http.StatusConflict, "status does not allow that")
	b.post(everything, "cancel", "id", "r 1").leads("run?id=r+1&done=cancel")
	b.stands("r 1", workflow.RunCancelled)
	b.get(everything, "run?id=r+1").is(200, `action="resume"`)
	b.post(everything, "resume", "id", "r 1").leads("run?id=r+1&done=resume")
	b.stands("r 1", workflow.RunPending)
	b.post(everything, "cancel", "id", "none").is(http.StatusNotFound, "There is no such run")
}

// An action is one thing that somebody may do or not: the page has no button for what he may not, and the form is refused.
func TestAllow(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "disks"}))
	var asked []web.Target
	only := func(actions ...web.Action) web.Options {
		return web.Options{Allow: func(_ *http.Request, action web.Action, on web.Target) bool {
			asked = append(asked, on)
			for _, allowed := range actions {
				if action == allowed {
					return true
				}
			}
			return false
		}}
	}
	b.get(only(web.ActionView), "run?id=r1").is(200, "hidden").lacks("Cancel…", "Send a signal", `action="`)
	b.get(only(web.ActionView, web.ActionCancel), "run?id=r1").is(200, "Cancel…").lacks("Send a signal")
	b.post(only(web.ActionView, web.ActionCancel), "signal", "id", "r1", "name", "x").is(http.StatusForbidden, "You may not do that")
	asked = nil
	b.post(only(), "cancel", "id", "r1").is(http.StatusForbidden)
	if want := (web.Target{RunID: "r1", Workflow: "order"}); len(asked) == 0 || asked[0] != want {
		t.Errorf("asked about %+v, want %+v", asked, want)
	}
	// Whether there is such a run is not told.
	b.post(only(), "cancel", "id", "none").is(http.StatusForbidden)
	b.get(only(), "run?id=none").is(http.StatusForbidden)
	for _, screen := range screens {
		b.get(only(web.ActionCancel), screen).is(http.StatusForbidden, "You may not do that").lacks("r1", "disks")
	}
	b.stands("r1", workflow.RunPending)
}

var screens = []string{"", "runs", "queues", "schedules", "approvals", "workers", "run?id=r1"}

// Without Allow, and with ReadOnly whatever Allow says, nothing can be done.
func TestReadOnly(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	readOnly := everything
	readOnly.ReadOnly = true
	for _, options := range []web.Options{{}, readOnly} {
		for _, screen := range screens {
			b.get(options, screen).is(200, "read only").lacks(`method="post"`)
		}
		for _, name := range web.Acts() {
			b.post(options, name, "id", "r1", "name", "paid", "step", "x", "queue", "q", "schedule", "s").is(http.StatusForbidden)
		}
	}
	b.stands("r1", workflow.RunPending)
}

// What other sites have a browser send is refused, and so is what is not a form, or not posted.
func TestOtherSites(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	for name, change := range map[string]func(*http.Request){
		"by fetch metadata": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"of another origin": func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.example")
		},
	} {
		r := request("cancel", "id", "r1")
		change(r)
		if a := b.send(everything, r); a.Code != http.StatusForbidden {
			t.Errorf("%s: status %d", name, a.Code)
		}
	}
	trusting := everything
	trusting.CrossOrigin = http.NewCrossOriginProtection()
	kit.Must(t, trusting.CrossOrigin.AddTrustedOrigin("https://ops.example"))
	r := request("signal", "id", "r1", "name", "paid")
	r.Header.Del("Sec-Fetch-Site")
	r.Header.Set("Origin", "https://ops.example")
	b.send(trusting, r).leads("run?id=r1&done=signal")

	b.get(everything, "cancel?id=r1").is(http.StatusMethodNotAllowed)
	r = request("cancel", "id", "r1")
	r.Header.Set("Content-Type", "text/plain")
	b.send(everything, r).is(http.StatusUnsupportedMediaType)
	b.post(everything, "runs").is(http.StatusMethodNotAllowed)
	b.stands("r1", workflow.RunPending)
}

// The log has who did what, or tried to.
func TestActionsAreLogged(t *testing.T) {
	b := setup(t)
	b.created("r1", 1)
	var log bytes.Buffer
	options := everything
	options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	options.User = func(*http.Request) string { return "anna" }
	b.post(options, "cancel", "id", "r1").leads("run?id=r1&done=cancel")
	options.ReadOnly = true
	b.post(options, "resume", "id", "r1").is(http.StatusForbidden)
	for _, want := range []string{
		`level=INFO msg="dashboard action" action=cancel run_id=r1 workflow=order by=anna`,
		`level=WARN msg="dashboard action refused" action=resume run_id=r1 workflow=order by=anna error=`,
	} {
		if !bytes.Contains(log.Bytes(), []byte(want)) {
			t.Errorf("%q is not logged:\n%s", want, log.Bytes())
		}
	}
}
