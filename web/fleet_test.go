package web_test

import (
	"context"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/web"
)

// A queue is shown with its limits and what is on it, paused and resumed.
func TestQueues(t *testing.T) {
	b := setup(t)
	b.get(web.Options{}, "queues").is(200, "There is no queue")
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "a&b", MaxRunning: 4, MaxPerPartition: 2, Rate: workflow.Rate{Count: 10, Per: time.Second, Burst: 3}}))
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		VALUES ('r1', 'order', 'running', '1', 1, 1, NULL, 'a&b', 2, ''), ('r2', 'order', 'pending', '1', 1, 1, 1, 'a&b', 2, '')`)
	b.get(everything, "queues").is(200, "a&amp;b", "1 of 4", "4 at once; 2 per partition; 10 in 1 s, 3 at once", ">Pause<").lacks(">Resume<")
	b.post(everything, "pause-queue", "queue", "a&b").leads("queues?done=pause-queue")
	b.get(everything, "queues?done=pause-queue").is(200, "The queue is paused", "paused</span>", ">Resume<").lacks(">Pause<")
	b.post(everything, "resume-queue", "queue", "a&b").leads("queues?done=resume-queue")
	queue, err := b.svc.GetQueue(t.Context(), "a&b")
	kit.Must(t, err)
	if !queue.PausedAt.IsZero() {
		t.Error("it is paused still")
	}
	b.post(everything, "pause-queue", "queue", "none").is(http.StatusNotFound, "There is no such queue")
	b.get(web.Options{}, "queues").is(200).lacks(`method="post"`)
}

// A schedule is shown with its times, paused, resumed, and triggered: that leads to the run.
func TestSchedules(t *testing.T) {
	b := setup(t)
	b.get(web.Options{}, "schedules").is(200, "There is no schedule")
	report := workflow.Define[string, int]("report", nil)
	kit.Must(t, report.SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: "nightly", Cron: "30 2 * * *", Zone: "Europe/Berlin", CatchUp: time.Hour}, "all"))
	kit.Must(t, report.SetSchedule(t.Context(), b.svc, workflow.Schedule{Name: "often", Every: 10 * time.Minute, Overlap: workflow.OverlapAllow}, "few"))
	b.get(everything, "schedules").is(200, "30 2 * * *", "Europe/Berlin", "catches up 1h", "every 10m", "starts beside the last run", "unserved", "never")
	b.post(everything, "pause-schedule", "schedule", "nightly").leads("schedules?done=pause-schedule")
	b.get(everything, "schedules").is(200, "paused</span>", ">Resume<")
	b.post(everything, "resume-schedule", "schedule", "nightly").leads("schedules?done=resume-schedule")
	b.get(everything, "schedules").is(200).lacks(">Resume<")

	a := b.post(everything, "trigger", "schedule", "nightly")
	found, err := b.svc.GetSchedule(t.Context(), "nightly")
	kit.Must(t, err)
	if !regexp.MustCompile(`^run\?id=nightly%2F.*&done=trigger$`).MatchString(a.Header().Get("Location")) || found.LastRunID == "" {
		t.Errorf("triggering leads to %q, the last run is %q", a.Header().Get("Location"), found.LastRunID)
	}
	b.get(everything, a.Header().Get("Location")).is(200, found.LastRunID, "Started: this is the run.")
	b.post(everything, "trigger", "schedule", "nightly").is(http.StatusConflict, "The last run of the schedule is not finished")
	b.post(everything, "trigger", "schedule", "none").is(http.StatusNotFound, "There is no such schedule")
}

// Who is asked what is on one page, for all or for one person, and can be decided there.
func TestApprovals(t *testing.T) {
	b := setup(t)
	b.get(web.Options{}, "approvals").is(200, "Nobody is asked anything")
	ask := workflow.DefineApproval[bool]("manager")
	w := workflow.Define("asks", func(ctx context.Context, from string) (bool, error) {
		decision, err := ask.Ask(ctx, workflow.ApprovalRequest{From: []string{from}, For: "a new chair for " + from})
		return decision.Value, err
	})
	svc := b.works(w)
	for _, who := range []string{"anna", "berta"} {
		_, err := w.Start(t.Context(), svc, who, workflow.WithRunID("of "+who))
		kit.Must(t, err)
		b.stands("of "+who, workflow.RunSuspended)
	}
	kit.Until(t, "both are asked", func() bool {
		open, err := b.svc.ListApprovals(t.Context(), workflow.ApprovalFilter{})
		return err == nil && len(open.Approvals) == 2
	})
	b.get(everything, "approvals").is(200, "chair for anna", "chair for berta", `action="decide"`)
	b.get(everything, "approvals?from=anna").is(200, "chair for anna").lacks("chair for berta")
	b.get(web.Options{}, "approvals").is(200, "chair for anna").lacks(`action="decide"`)
	b.post(everything, "decide", "id", "of anna", "step", "manager", "by", "anna", "decision", "true").leads("run?id=of+anna&done=decide")
	b.stands("of anna", workflow.RunCompleted)
}

// Workers are shown with what they execute, those that are gone as well, and what hangs there.
func TestWorkers(t *testing.T) {
	b := setup(t)
	b.get(web.Options{}, "workers").is(200, "No worker is alive", "None.")
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_workers (id, expires_at, started_at, pid, host, version, workflows, queues, hanging)
		VALUES ('living', 9000000000000, 1, 4711, 'here', '1.2.3', '{order,refund}', '{"",mails}', '[{"run_id": "r1", "step": "charge", "since": 1}]'),
		       ('dead', 5, 1, 12, 'there', NULL, '{order}', NULL, NULL);
		INSERT INTO workflows.workflow_runs (id, workflow, status, owner, input, created_at, updated_at) VALUES ('r1', 'order', 'running', 'living', '1', 1, 1)`)
	b.get(web.Options{}, "workers").is(200, "living", "pid 4711", "1.2.3", "order, refund", "(no queue), mails", "gone", "charge", "run?id=r1")
	b.get(web.Options{}, "run?id=r1").is(200, "A step takes long", "in flight", "charge")
}
