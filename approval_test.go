package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

type verdict struct {
	Approved bool   `json:"approved"`
	Note     string `json:"note,omitempty"`
}

var manager = workflow.DefineApproval[verdict]("manager")

// audit is what was decided, with the step that took it.
func (b *bench) audit(runID string) (all []string) {
	b.t.Helper()
	signals, err := b.svc.ListSignals(b.t.Context(), runID)
	kit.Must(b.t, err)
	for _, s := range signals {
		all = append(all, fmt.Sprintf("%s %s %s", s.Name, s.Payload, s.TakenBy))
	}
	return all
}

// The first decision that counts wins. Those of people who were not asked, and what is no decision, do not count, and are kept, as is
// what comes later.
func TestApprovals(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define("asks", func(ctx context.Context, cents int) (string, error) {
			first, err := manager.Ask(ctx, workflow.ApprovalRequest{
				From: []string{"anna", "ben"}, For: map[string]int{"cents": cents}, Within: time.Hour,
			})
			if err != nil {
				return "", err
			}
			second, err := manager.Ask(workflow.Branch(ctx, "again"), workflow.ApprovalRequest{})
			return fmt.Sprint(first, second), err
		})
		b.svc.Register(w)
		kit.Work(t, b.svc)
		handle, err := w.Start(t.Context(), b.svc, 1999, workflow.WithRunID("refund/17"))
		kit.Must(t, err)
		id := handle.RunID()
		ctx, first, again := t.Context(), workflow.ApprovalID(id, "manager"), workflow.ApprovalID(id, "again/manager")
		b.waiting(id, "signal:approval:manager")
		kit.Must(t, manager.Decide(ctx, b.svc, first, "eve", verdict{Approved: true}))
		kit.Must(t, workflow.DefineApproval[string]("manager").Decide(ctx, b.svc, first, "ben", "yes"))
		b.waiting(id, "signal:approval:manager")
		for _, by := range []string{"anna", "ben"} { // in one transaction, which is rolled back
			tx := kit.Begin(t, b.db)
			kit.Must(t, manager.Decide(ctx, b.svc.In(tx), first, by, verdict{}))
			kit.Must(t, tx.Rollback())
		}
		kit.Must(t, manager.Decide(ctx, b.svc, first, "ben", verdict{Approved: true, Note: "fine"}))
		b.waiting(id, "signal:approval:again/manager")
		kit.Must(t, manager.Decide(ctx, b.svc, first, "anna", verdict{}))
		kit.Must(t, manager.Decide(ctx, b.svc, again, "eve", verdict{}, workflow.WithKey("k")))
		kit.Must(t, manager.Decide(ctx, b.svc, again, "eve", verdict{}, workflow.WithKey("k")))
		got, err := handle.Result(kit.Context(t))
		if err != nil || got != "{ben {true fine}} {eve {false }}" {
			t.Errorf("result %q, %v", got, err)
		}
		kit.WantIs(t, manager.Decide(ctx, b.svc, again, "eve", verdict{}), workflow.ErrRunFinished)
		if diff := cmp.Diff([]string{
			`approval:manager {"by": "eve", "value": {"approved": true}} `,
			`approval:manager {"by": "ben", "value": "yes"} `,
			`approval:manager {"by": "ben", "value": {"note": "fine", "approved": true}} manager`,
			`approval:manager {"by": "anna", "value": {"approved": false}} `,
			`approval:again/manager {"by": "eve", "value": {"approved": false}} again/manager`,
		}, b.audit(id)); diff != "" {
			t.Errorf("audit (-want +got):\n%s", diff)
		}
		step, err := b.svc.GetStepState(ctx, id, "manager")
		if err != nil || step.Kind != workflow.ApprovalStep || string(step.Request) != `{"for": {"cents": 1999}, "from": ["anna", "ben"]}` ||
			step.SignalSeq == 0 || step.WakeAt.Sub(step.StartedAt) < time.Hour {
			t.Errorf("step %+v, request %s, %v", step, step.Request, err)
		}
	})
}

// What counts is whom the run has asked, also when the code asks somebody else by now, and until when.
func TestApprovalIsAsItWasAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var asked atomic.Value
	asked.Store("anna")
	w := workflow.Define("asks", func(ctx context.Context, _ int) (string, error) {
		decision, err := manager.Ask(ctx, workflow.ApprovalRequest{From: []string{asked.Load().(string)}, Within: time.Hour})
		return decision.By, err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	b.waiting(handle.RunID(), "signal:approval:manager")
	asked.Store("ben")
	id := workflow.ApprovalID(handle.RunID(), "manager")
	kit.Must(t, manager.Decide(t.Context(), b.svc, id, "ben", verdict{}))
	kit.Must(t, manager.Decide(t.Context(), b.svc, id, "anna", verdict{}))
	if by, err := handle.Result(kit.Context(t)); err != nil || by != "anna" {
		t.Errorf("decided by %q, %v; want anna, who was asked", by, err)
	}
}

// An approval that nobody decides in time is over, by the recorded deadline. What is decided later is kept, and changes nothing.
func TestApprovalExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("expires", func(ctx context.Context, _ int) (int, error) {
		_, err := manager.Ask(ctx, workflow.ApprovalRequest{From: []string{"anna"}, Within: 50 * time.Millisecond})
		if !errors.Is(err, workflow.ErrTimeout) || !errors.Is(err, workflow.CodeTimeout) {
			return 0, fmt.Errorf("not decided in time: %w", err)
		}
		return number.Wait(ctx, 0)
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 0)
	kit.Must(t, err)
	b.waiting(handle.RunID(), "signal:number")
	kit.Must(t, manager.Decide(t.Context(), b.svc, workflow.ApprovalID(handle.RunID(), "manager"), "anna", verdict{}))
	kit.Must(t, number.Send(t.Context(), b.svc, handle.RunID(), 7))
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
		t.Errorf("result %d, %v; want 7", got, err)
	}
	if audit := b.audit(handle.RunID()); len(audit) != 2 || audit[0] != `approval:manager {"by": "anna", "value": {"approved": false}} ` {
		t.Errorf("audit %q, want the late decision kept", audit)
	}
}

// The open approvals are listed newest first, those of whom they ask too; decided, expired and abandoned ones are not among them.
func TestListApprovals(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define("asks", func(ctx context.Context, from string) (string, error) {
			request := workflow.ApprovalRequest{For: from}
			if from != "" {
				request.From = strings.Fields(from)
			}
			decision, err := manager.Ask(ctx, request)
			return decision.By, err
		})
		b.svc.Register(w)
		kit.Work(t, b.svc)
		for i, from := range []string{"anna", "anna ben", "", "ben", "anna", "anna"} {
			id := fmt.Sprintf("r/%d", i)
			_, err := w.Start(t.Context(), b.svc, from, workflow.WithRunID(id))
			kit.Must(t, err)
			b.waiting(id, "signal:approval:manager")
			kit.Exec(t, b.db, "UPDATE workflows.workflow_steps SET started_at = $2 WHERE run_id = $1", id, 1000+i/2) // two in each millisecond
		}
		kit.Must(t, b.svc.Cancel(t.Context(), "r/4"))
		kit.Must(t, manager.Decide(t.Context(), b.svc, workflow.ApprovalID("r/5", "manager"), "anna", verdict{}))
		_, err := w.Handle(b.svc, "r/5").Result(kit.Context(t))
		kit.Must(t, err)
		list := func(filter workflow.ApprovalFilter) (all []string) {
			for range 10 {
				page, err := b.svc.ListApprovals(t.Context(), filter)
				kit.Must(t, err)
				for _, a := range page.Approvals {
					var about string
					kit.Must(t, a.DecodeFor(&about))
					if a.ID != workflow.ApprovalID(a.RunID, "manager") || a.Step != "manager" || a.Workflow != "asks" || about != strings.Join(a.From, " ") {
						t.Errorf("approval %+v", a)
					}
					all = append(all, a.RunID)
				}
				if filter.Cursor = page.Next; page.Next == "" {
					return all
				}
			}
			t.Fatal("the pages have no end")
			return nil
		}
		for _, c := range []struct {
			filter workflow.ApprovalFilter
			want   []string
		}{
			{workflow.ApprovalFilter{}, []string{"r/2", "r/3", "r/0", "r/1"}},
			{workflow.ApprovalFilter{Limit: 1}, []string{"r/2", "r/3", "r/0", "r/1"}},
			{workflow.ApprovalFilter{Limit: 4}, []string{"r/2", "r/3", "r/0", "r/1"}},
			{workflow.ApprovalFilter{From: "anna", Limit: 2}, []string{"r/2", "r/0", "r/1"}},
			{workflow.ApprovalFilter{From: "ben"}, []string{"r/2", "r/3", "r/1"}},
			{workflow.ApprovalFilter{From: "zoe"}, []string{"r/2"}},
		} {
			if diff := cmp.Diff(c.want, list(c.filter)); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", c.filter, diff)
			}
		}
		kit.Exec(t, b.db, "UPDATE workflows.workflow_steps SET wake_at = 1 WHERE run_id = 'r/2'")
		if got := list(workflow.ApprovalFilter{From: "zoe"}); got != nil {
			t.Errorf("after its time: %v", got)
		}
		tx := kit.Begin(t, b.db)
		kit.Exec(t, tx, "DELETE FROM workflows.workflow_runs")
		if page, err := b.svc.In(tx).ListApprovals(t.Context(), workflow.ApprovalFilter{}); err != nil || len(page.Approvals) != 0 {
			t.Errorf("in a transaction that deletes all: %v, %v", page, err)
		}
	})
}

func TestApprovalsRefuse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if said := panics(func() { workflow.DefineApproval[bool]("a/b") }); !strings.Contains(said, "step name") {
		t.Errorf("a bad name: panic %q", said)
	}
	if said := panics(func() { workflow.DefineApproval[error]("a") }); !strings.Contains(said, "interface") {
		t.Errorf("an interface: panic %q", said)
	}
	ctx := t.Context()
	good := workflow.ApprovalID("run", "manager")
	for what, err := range map[string]error{
		"no id":              manager.Decide(ctx, b.svc, "", "anna", verdict{}),
		"half an id":         manager.Decide(ctx, b.svc, "run", "anna", verdict{}),
		"no escape":          manager.Decide(ctx, b.svc, "%zz/manager", "anna", verdict{}),
		"another approval":   manager.Decide(ctx, b.svc, workflow.ApprovalID("run", "director"), "anna", verdict{}),
		"nobody":             manager.Decide(ctx, b.svc, good, "", verdict{}),
		"a negative time":    second(manager.Ask(ctx, workflow.ApprovalRequest{Within: -1})),
		"a channel":          second(manager.Ask(ctx, workflow.ApprovalRequest{For: make(chan int)})),
		"a negative limit":   second(b.svc.ListApprovals(ctx, workflow.ApprovalFilter{Limit: -1})),
		"another cursor":     second(b.svc.ListApprovals(ctx, workflow.ApprovalFilter{Cursor: "1.5.x"})),
		"what is no cursor":  second(b.svc.ListApprovals(ctx, workflow.ApprovalFilter{Cursor: "x"})),
		"a name that is bad": second(b.svc.ListApprovals(ctx, workflow.ApprovalFilter{From: "\x00"})),
	} {
		if !errors.Is(err, workflow.ErrInvalidArgument) {
			t.Errorf("%s: %v, want ErrInvalidArgument", what, err)
		}
	}
	kit.WantIs(t, manager.Decide(ctx, b.svc, good, "anna", verdict{}), workflow.ErrRunNotFound)
	_, err := manager.Ask(ctx, workflow.ApprovalRequest{})
	kit.WantIs(t, err, workflow.ErrOutsideRun)
}

// Whatever run and step an approval is of, its id leads back to them.
func FuzzApprovalID(f *testing.F) {
	for _, seed := range []string{"r", "a/b", "%2F", "%", "Zoë #1"} {
		f.Add(seed, "box/manager#1")
	}
	svc, err := workflow.New(workflow.Config{DB: pgtest.New(f).Open(f, pgtest.PGX)})
	kit.Must(f, err)
	f.Cleanup(func() { kit.Must(f, svc.Close()) })
	f.Fuzz(func(t *testing.T, runID, branch string) {
		run, err := svc.CreateRunWithID(t.Context(), runID, "w", nil)
		if err != nil {
			return // a name that cannot be stored
		}
		step := strings.Trim(strings.ReplaceAll(branch, "\x00", ""), "/") + "/manager"
		id := workflow.ApprovalID(run.ID, step)
		err = manager.Decide(t.Context(), svc, id, "anna", verdict{})
		if errors.Is(err, workflow.ErrInvalidArgument) {
			return
		}
		kit.Must(t, err)
		signals, err := svc.ListSignals(t.Context(), run.ID)
		if err != nil || signals[len(signals)-1].Name != "approval:"+step || !json.Valid(signals[0].Payload) {
			t.Errorf("run %q, step %q: %v, %v", runID, step, signals, err)
		}
	})
}

// What was decided is read with its types, by the approval's id, while the run goes on and afterwards.
func TestDecisionOfAnApproval(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		w := workflow.Define("asks", func(ctx context.Context, within time.Duration) (string, error) {
			_, err := manager.Ask(workflow.Branch(ctx, "box"), workflow.ApprovalRequest{From: []string{"anna"}, Within: within})
			if errors.Is(err, workflow.ErrTimeout) {
				return "nobody", nil
			}
			if err != nil {
				return "", err
			}
			return word.Wait(ctx, 0)
		})
		b.svc.Register(w)
		kit.Work(t, b.svc)
		ask := func(within time.Duration) (runID, approvalID string) {
			handle, err := w.Start(t.Context(), b.svc, within)
			kit.Must(t, err)
			return handle.RunID(), workflow.ApprovalID(handle.RunID(), "box/manager")
		}
		reads := func(id string, want workflow.Decision[verdict], wantDecided bool, wantErr error) {
			t.Helper()
			tx := kit.Begin(t, b.db)
			defer func() { kit.Must(t, tx.Rollback()) }()
			for _, on := range []workflow.Session{b.svc, b.svc.In(tx)} {
				got, decided, err := manager.Decision(t.Context(), on, id)
				if got != want || decided != wantDecided || !errors.Is(err, wantErr) {
					t.Errorf("decision %+v, %t, %v; want %+v, %t, %v", got, decided, err, want, wantDecided, wantErr)
				}
			}
		}
		var none workflow.Decision[verdict]
		runID, id := ask(0)
		b.waiting(runID, "signal:approval:box/manager")
		kit.Must(t, manager.Decide(t.Context(), b.svc, id, "eve", verdict{}))
		reads(id, none, false, nil)
		kit.Must(t, manager.Decide(t.Context(), b.svc, id, "anna", verdict{Approved: true, Note: "fine"}))
		b.waiting(runID, "signal:word")
		reads(id, workflow.Decision[verdict]{By: "anna", Value: verdict{Approved: true, Note: "fine"}}, true, nil)
		kit.Must(t, b.svc.Cancel(t.Context(), runID))
		reads(id, workflow.Decision[verdict]{By: "anna", Value: verdict{Approved: true, Note: "fine"}}, true, nil)

		late, id := ask(10 * time.Millisecond)
		ends(t, w.Handle(b.svc, late), "nobody")
		reads(id, none, false, workflow.ErrTimeout)
		reads(workflow.ApprovalID("nobody", "manager"), none, false, workflow.ErrRunNotFound)
		reads(workflow.ApprovalID(late, "other"), none, false, workflow.ErrInvalidArgument)
		reads("no id", none, false, workflow.ErrInvalidArgument)
	})
}
