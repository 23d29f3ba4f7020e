package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// In these tests the shop works in this process, and the test is the people and the bank.

func setup(t *testing.T) (shop *shop, stop func()) {
	t.Helper()
	db := pgtest.Empty(t).Open(t, pgtest.PQ)
	service, err := workflow.New(workflow.Config{DB: db, Schema: "example_refunds_workflows"})
	kit.Must(t, err)
	kit.Must(t, service.Init(t.Context()))
	kit.Must(t, migrate(t.Context(), db))
	return newShop(db, service), kit.Work(t, service)
}

func (s *shop) ask(t *testing.T, order, reason string) (*workflow.Handle[Receipt], string) {
	t.Helper()
	handle, err := s.request(t.Context(), order, reason)
	kit.Must(t, err)
	s.waitFor(t, handle.RunID(), "manager", workflow.StepScheduled)
	return handle, workflow.ApprovalID(handle.RunID(), "manager")
}

func (s *shop) waitFor(t *testing.T, runID, step string, status workflow.StepStatus) {
	t.Helper()
	kit.Until(t, "step "+step+" "+string(status), func() bool {
		found, err := s.service.GetStepState(t.Context(), runID, step)
		kit.Must(t, err)
		return found.Status == status
	})
}

// call is the bank, which calls the webhook.
func (s *shop) call(t *testing.T, event any) (status int) {
	t.Helper()
	body, err := json.Marshal(event)
	kit.Must(t, err)
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body)))
	return answer.Code
}

func wantReceipt(t *testing.T, handle *workflow.Handle[Receipt], want Receipt) {
	t.Helper()
	got, err := handle.Result(kit.Context(t))
	kit.Must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
}

var (
	moments = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`)
	hashes  = regexp.MustCompile(`[0-9a-f]{32}`)
)

// audit compares what is printed of a run, but for times and the ends of ids.
func (s *shop) audit(t *testing.T, runID, want string) {
	t.Helper()
	a := audit{service: s.service, runID: runID}
	kit.Must(t, a.read(t.Context()))
	var out strings.Builder
	a.print(&out)
	got := hashes.ReplaceAllString(moments.ReplaceAllString(out.String(), "<time>"), "<hash>")
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

// A manager says yes, and the bank says so three times: at the same moment twice, and when all is over.
func TestApproved(t *testing.T) {
	t.Parallel()
	shop, _ := setup(t)
	ctx := t.Context()
	handle, id := shop.ask(t, "1004", "arrived broken")
	kit.Must(t, approval.Decide(ctx, shop.service, id, "mallory", false))
	kit.Must(t, approval.Decide(ctx, shop.service, id, "anna", true))
	kit.Must(t, approval.Decide(ctx, shop.service, id, "ben", false))
	shop.waitFor(t, handle.RunID(), "booked", workflow.StepScheduled)

	event := Event{ID: "event 7", Reference: handle.RunID(), Booking: Booking{Transfer: "transfer 7", Cents: 1500}}
	var statuses [3]int
	kit.Together(2, func(i int) error { statuses[i] = shop.call(t, event); return nil })
	wantReceipt(t, handle, Receipt{Outcome: Refunded, By: "anna", Untold: []string{"unknown"}})
	statuses[2] = shop.call(t, event)
	if diff := cmp.Diff([3]int{204, 204, 204}, statuses); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}

	shop.audit(t, handle.RunID(), `
refund-1004  unknown, 15.00 €, "arrived broken": refunded
├─ manager   anna and ben asked at <time>, until <time>: {"by": "anna", "value": true}
│  <time>  mallory  no   was not asked
│  <time>  anna     yes  this counts
│  <time>  ben      no   too late
├─ transfer  "transfer 1"
├─ booked    {"Cents": 1500, "Transfer": "transfer 7"}
│  <time>  signal "booked" with key "event 7", taken by this step
├─ close     "refunded"
└─ notify    3 runs
   accounting  run refund-1004.<hash>: completed
   unknown     run refund-1004.<hash>: failed, nobody is called unknown
   warehouse   run refund-1004.<hash>: completed
`)
	row := kit.One[string](t, shop.db, `
		SELECT concat_ws(' ', o.refunded, r.outcome, r.decided_by, e.received, e.stray, (SELECT count(*) FROM example_refunds.messages))
		FROM example_refunds.orders AS o
		JOIN example_refunds.refunds AS r ON r.order_number = o.number
		JOIN example_refunds.bank_events AS e ON e.reference = r.run_id`)
	if want := "1500 refunded anna 3 f 2"; row != want {
		t.Errorf("the shop has %q, want %q", row, want)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	shop, _ := setup(t)
	ctx := t.Context()
	handle, id := shop.ask(t, "1002", "changed my mind")
	kit.Must(t, approval.Decide(ctx, shop.service, id, "ben", false))
	wantReceipt(t, handle, Receipt{Outcome: Refused, By: "ben"})
	if n := kit.One[int](t, shop.db, `SELECT count(*) FROM example_refunds.bank_transfers`); n != 0 {
		t.Errorf("the bank was asked for %d transfers", n)
	}
	if n := kit.One[int](t, shop.db, `SELECT sum(refunded) FROM example_refunds.orders`); n != 0 {
		t.Errorf("%d cents are refunded", n)
	}
}

// The director decides when her time is over: while the run still goes on, which keeps what she says, and after its end.
func TestExpired(t *testing.T) {
	t.Parallel()
	shop, _ := setup(t)
	ctx := t.Context()
	tx := kit.Begin(t, shop.db)
	kit.Exec(t, tx, `LOCK TABLE example_refunds.messages IN SHARE MODE`) // nobody is told meanwhile
	handle, id := shop.ask(t, "1007", "too soft")
	shop.waitFor(t, handle.RunID(), "manager", workflow.StepFailed)
	kit.Must(t, approval.Decide(ctx, shop.service, id, "clara", true))
	kit.Must(t, tx.Rollback())
	wantReceipt(t, handle, Receipt{Outcome: Expired})
	kit.WantIs(t, approval.Decide(ctx, shop.service, id, "clara", true), workflow.ErrRunFinished)
	shop.audit(t, handle.RunID(), `
refund-1007  Amélie, 690.00 €, "too soft": expired
├─ manager   clara asked at <time>, until <time>: failed: nothing came in time: signal approval:manager
│  <time>  clara    yes  too late
├─ close     "expired"
└─ notify    3 runs
   Amélie      run refund-1007.<hash>: completed
   accounting  run refund-1007.<hash>: completed
   warehouse   run refund-1007.<hash>: completed
`)
}

// An event that nobody waits for is kept for somebody to look at, and the bank need not call again.
func TestStrayEvents(t *testing.T) {
	t.Parallel()
	shop, _ := setup(t)
	handle, id := shop.ask(t, "1002", "changed my mind")
	kit.Must(t, approval.Decide(t.Context(), shop.service, id, "ben", false))
	wantReceipt(t, handle, Receipt{Outcome: Refused, By: "ben"})
	for _, event := range []Event{{ID: "1", Reference: handle.RunID()}, {ID: "2", Reference: "nobody"}} {
		if status := shop.call(t, event); status != http.StatusNoContent {
			t.Errorf("event %s is answered with %d", event.ID, status)
		}
	}
	if n := kit.One[int](t, shop.db, `SELECT count(*) FROM example_refunds.bank_events WHERE stray`); n != 2 {
		t.Errorf("%d events are kept as strays, want 2", n)
	}
}

// What we could not keep must come again: the event and its signal are kept together, or neither.
func TestWebhookRefuses(t *testing.T) {
	t.Parallel()
	shop, _ := setup(t)
	if status := shop.call(t, "what?"); status != http.StatusBadRequest {
		t.Errorf("nonsense is answered with %d", status)
	}
	handle, _ := shop.ask(t, "1001", "arrived broken")
	event := Event{ID: "1", Reference: handle.RunID()}
	kit.Exec(t, shop.db, `ALTER TABLE example_refunds_workflows.workflow_signals RENAME TO away`)
	if status := shop.call(t, event); status != http.StatusServiceUnavailable {
		t.Errorf("an event of which nobody can be told is answered with %d", status)
	}
	if n := kit.One[int](t, shop.db, `SELECT count(*) FROM example_refunds.bank_events`); n != 0 {
		t.Error("it is kept all the same")
	}
	kit.Exec(t, shop.db, `ALTER TABLE example_refunds_workflows.away RENAME TO workflow_signals`)
	kit.Exec(t, shop.db, `
		ALTER TABLE example_refunds.bank_events
		    ADD FOREIGN KEY (transfer) REFERENCES example_refunds.orders DEFERRABLE INITIALLY DEFERRED`)
	if status := shop.call(t, event); status != http.StatusServiceUnavailable {
		t.Errorf("an event whose transaction does not commit is answered with %d", status)
	}
	if n := kit.One[int](t, shop.db, `SELECT count(*) FROM example_refunds_workflows.workflow_signals`); n != 0 {
		t.Error("its signal is sent all the same")
	}
}

// Who asks twice gets one run; a request that cannot be kept gets none.
func TestRequests(t *testing.T) {
	t.Parallel()
	shop, _ := setup(t)
	ctx := t.Context()
	first, _ := shop.ask(t, "1001", "arrived broken")
	second, _ := shop.ask(t, "1001", "arrived broken")
	if first.RunID() != second.RunID() {
		t.Errorf("two runs: %s and %s", first.RunID(), second.RunID())
	}
	if _, err := shop.request(ctx, "4711", "never ordered"); err == nil {
		t.Error("an unknown order is refunded")
	}
	_, err := shop.request(ctx, "1001", "another reason")
	kit.WantIs(t, err, workflow.ErrRunConflict)

	kit.Exec(t, shop.db, `
		ALTER TABLE example_refunds.refunds
		    ADD FOREIGN KEY (reason) REFERENCES example_refunds.orders DEFERRABLE INITIALLY DEFERRED NOT VALID`)
	if _, err := shop.request(ctx, "1003", "never arrived"); err == nil {
		t.Error("a request whose transaction does not commit is accepted")
	}
	refunds := kit.One[int](t, shop.db, `SELECT count(*) FROM example_refunds.refunds`)
	runs := kit.One[int](t, shop.db, `SELECT count(*) FROM example_refunds_workflows.workflow_runs`)
	if refunds != 1 || runs != 1 {
		t.Errorf("%d refunds and %d runs, want one of each", refunds, runs)
	}
}

// Money is counted once, even by whoever writes past the workflow.
func TestRefundedTwiceIsRefused(t *testing.T) {
	t.Parallel()
	shop, _ := setup(t)
	request, receipt := Request{Order: "1001", Cents: 900}, Receipt{Outcome: Refunded, By: "anna"}
	once := func() error {
		tx := kit.Begin(t, shop.db)
		defer func() { _ = tx.Rollback() }()
		if err := closeRefund(t.Context(), tx, request, receipt); err != nil {
			return err
		}
		return tx.Commit()
	}
	kit.Must(t, once())
	if state := kit.SQLState(once()); state != "23514" { // check_violation
		t.Errorf("the second time: SQLSTATE %q", state)
	}
}

// The limit is that of the database's clock: what is decided beyond it counts for nothing, even if nobody worked to notice.
func TestDecidedTooLateWhileNobodyWorked(t *testing.T) {
	t.Parallel()
	shop, stop := setup(t)
	handle, id := shop.ask(t, "1007", "too soft")
	stop()
	kit.Until(t, "her time is over", func() bool {
		page, err := shop.service.ListApprovals(t.Context(), workflow.ApprovalFilter{From: "clara"})
		kit.Must(t, err)
		return len(page.Approvals) == 0
	})
	kit.Must(t, approval.Decide(t.Context(), shop.service, id, "clara", true))
	kit.Work(t, shop.service)
	wantReceipt(t, handle, Receipt{Outcome: Expired})
}
