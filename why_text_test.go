package workflow_test

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
)

// Sentences that would take a fleet of their own to bring about.
func TestWhyText(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	broken := &workflow.Error{Message: "it broke"}
	const due = "the run is pending and has waited to be claimed for 1h30m0s"
	for _, test := range []struct {
		why  workflow.Why
		want string
	}{
		{
			workflow.Why{Code: workflow.WhyBehind, Count: 1000, Executing: 40, Workers: 2, Serving: 2},
			due + ": 1000 runs or more are due before it; 2 living workers are there for it, and execute 40 runs now",
		},
		{
			workflow.Why{Code: workflow.WhyUnserved, Queue: "q", Workers: 2},
			due + ` in queue "q"; none of the 2 living workers has registered workflow "w" and serves queue "q"`,
		},
		{
			workflow.Why{Code: workflow.WhyQueuePaused, Queue: "q", PausedAt: now.Add(-time.Hour)},
			due + ` in queue "q", which is paused since 2027-01-02T02:04:05Z; no worker is alive to execute workflow "w": is Service.Work running anywhere?`,
		},
		{
			workflow.Why{Code: workflow.WhyAnnounced, Workers: 1, Serving: 1},
			due + ": it is left to the consumer of the application's own queue (Service.Execute), which is not told yet",
		},
		{
			workflow.Why{Status: workflow.RunSuspended, Code: workflow.WhyBlocked, Until: now.Add(-1500 * time.Millisecond), Err: broken, Workers: 1, Serving: 1},
			"the run is suspended: it is blocked since 2027-01-02T01:34:05Z, and will be tried again at 2027-01-02T03:04:03Z (1.5s ago): it broke",
		},
		{
			workflow.Why{Status: workflow.RunSuspended, Code: workflow.WhyAsleep, Until: now.Add(25 * time.Hour), Workers: 1, Serving: 1},
			"the run is suspended until 2027-01-03T04:04:05Z (in 25h0m0s)",
		},
		{
			workflow.Why{Status: workflow.RunRunning, Code: workflow.WhyLeaseEnded, Worker: workflow.WhyWorker{ID: "x"}, Workers: 1},
			`the run is running: its worker x has died, and another one will take it over; the lease ended 1h30m0s ago; ` +
				`the only living worker has not registered workflow "w"`,
		},
		{
			workflow.Why{Status: workflow.RunSuspended, Code: workflow.WhySignal, Count: 1, WaitsFor: []string{"signal:a", "step:b"}, Workers: 1, Serving: 1,
				Runs: []workflow.WhyRun{{RunID: "r", Workflow: "child", Status: workflow.RunRunning}}},
			"the run is suspended: it waits for signal:a, step:b: 1 run not ended: r (child, running)",
		},
	} {
		test.why.Workflow, test.why.Now, test.why.Since = "w", now, now.Add(-90*time.Minute)
		if test.why.Status == "" {
			test.why.Status = workflow.RunPending
		}
		if got := test.why.String(); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}
