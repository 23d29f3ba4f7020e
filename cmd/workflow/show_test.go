package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// fixture is a database in which runs have ended, wait, and are driven by hand.
func fixture(t *testing.T) *pgtest.Database {
	t.Helper()
	database := pgtest.New(t)
	service, err := workflow.New(workflow.Config{DB: database.Open(t, pgtest.PQ)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	order := workflow.Define("take-order", takeOrder)
	wait := workflow.Define("wait", func(ctx context.Context, _ int) (int, error) {
		return 0, workflow.Sleep(ctx, "long", 24*time.Hour)
	})
	crash := workflow.Define("crash", func(context.Context, string) (int, error) { panic("so much for\n\x1b[31mthat") })
	service.Register(order, wait, crash)
	done := make(chan error, 1)
	go func() { done <- service.Work(ctx) }()

	first, err := order.Start(ctx, service, 3, workflow.WithRunID("order 1"))
	check(err)
	_, err = first.Result(ctx)
	check(err)
	second, err := order.Start(ctx, service, 0, workflow.WithRunID("order 2"))
	check(err)
	if _, err := second.Result(ctx); err == nil {
		t.Fatal("order 2 did not fail")
	}
	third, err := wait.Start(ctx, service, 1, workflow.WithRunID("order 3"))
	check(err)
	kit.Until(t, "order 3 waits", func() bool {
		run, err := service.GetRun(ctx, third.RunID())
		check(err)
		return run.Status == workflow.RunSuspended
	})
	fourth, err := crash.Start(ctx, service, "\u009b31m "+strings.Repeat("long ", 30), workflow.WithRunID("order 4"))
	check(err)
	if _, err := fourth.Result(ctx); err == nil {
		t.Fatal("order 4 did not fail")
	}
	stop()
	check(<-done)

	_, err = service.CreateRunWithID(t.Context(), "order 5", "by hand", nil)
	check(err)
	// In the order of their names as well, which decides when both are written in one millisecond.
	check(service.SetStepScheduled(t.Context(), "order 5", "pack"))
	check(service.SetStepError(t.Context(), "order 5", "print", errors.New("no ink")))
	check(service.UpdateRunStatus(t.Context(), "order 5", workflow.RunRunning, nil, nil))
	return database
}

// takeOrder has a step of each kind.
func takeOrder(ctx context.Context, pieces int) (string, error) {
	soon := workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 3, FirstDelay: time.Millisecond})
	if _, err := workflow.DoTx(ctx, "reserve", func(context.Context, *sql.Tx) (int, error) { return pieces, nil }); err != nil {
		return "", err
	}
	charge := func(ctx context.Context) (string, error) {
		if workflow.Attempt(ctx) < pieces || pieces == 0 {
			return "", &workflow.Error{Code: "busy", Message: "the bank is\nbusy"}
		}
		return "paid", nil
	}
	if _, err := workflow.Do(ctx, "charge", charge, soon); err != nil {
		return "", err
	}
	if err := workflow.Sleep(ctx, "cool off", time.Millisecond); err != nil {
		return "", err
	}
	nothing := func(context.Context) (any, error) { return nil, nil }
	box := workflow.Branch(ctx, "box")
	for range 2 {
		if _, err := workflow.Do(box, "pack", nothing); err != nil {
			return "", err
		}
	}
	label := workflow.Branch(box, "label")
	if _, err := workflow.Do(label, "print", charge, soon); err != nil {
		return "", err
	}
	return workflow.Do(ctx, "ship", func(context.Context) (string, error) { return "to Zoë, " + strings.Repeat("very ", 30) + "soon", nil })
}

var (
	momentPattern = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?`)
	tookPattern   = regexp.MustCompile(`after [\d.]+(s|ms)`)
)

// timeless puts one time in place of all.
func timeless(s string) string {
	s = momentPattern.ReplaceAllString(s, "2026-01-02 03:04:05.678")
	return tookPattern.ReplaceAllString(s, "after 1.234s")
}

const wantRuns = `
RUN      WORKFLOW    STATUS     CREATED (UTC)            CHANGED (UTC)            NOTE
order 5  by hand     running    2026-01-02 03:04:05.678  2026-01-02 03:04:05.678  driven by hand
order 4  crash       failed     2026-01-02 03:04:05.678  2026-01-02 03:04:05.678  panic: so much for �[31mthat
order 3  wait        suspended  2026-01-02 03:04:05.678  2026-01-02 03:04:05.678  goes on at 2026-01-02 03:04:05.678 UTC
order 2  take-order  failed     2026-01-02 03:04:05.678  2026-01-02 03:04:05.678  busy: the bank is busy
order 1  take-order  completed  2026-01-02 03:04:05.678  2026-01-02 03:04:05.678
`

// By the id of the run; without the stack of a panic.
var wantShow = map[string]string{
	"order 1": `
run       order 1
workflow  take-order
status    completed
created   2026-01-02 03:04:05.678 UTC
ended     2026-01-02 03:04:05.678 UTC, after 1.234s
input     3
output    "to Zoë, very very very very very very very very very very very very very very …

STEP                 STATUS     KIND   TIME (UTC)               ATTEMPTS  RESULT
├─ reserve           succeeded  tx     2026-01-02 03:04:05.678  1         3
├─ charge            succeeded         2026-01-02 03:04:05.678  3         "paid"
│  ├─ attempt        failed            2026-01-02 03:04:05.678            busy: the bank is busy
│  └─ attempt        failed            2026-01-02 03:04:05.678            busy: the bank is busy
├─ cool off          succeeded  sleep  2026-01-02 03:04:05.678            until 2026-01-02 03:04:05.678
├─ box
│  ├─ pack           succeeded         2026-01-02 03:04:05.678  1         null
│  ├─ pack#1         succeeded         2026-01-02 03:04:05.678  1         null
│  └─ label
│     └─ print       succeeded         2026-01-02 03:04:05.678  3         "paid"
│        ├─ attempt  failed            2026-01-02 03:04:05.678            busy: the bank is busy
│        └─ attempt  failed            2026-01-02 03:04:05.678            busy: the bank is busy
└─ ship              succeeded         2026-01-02 03:04:05.678  1         "to Zoë, very very very very very very very very very very very very very very …
`,
	"order 2": `
run        order 2
workflow   take-order
status     failed
created    2026-01-02 03:04:05.678 UTC
ended      2026-01-02 03:04:05.678 UTC, after 1.234s
input      0
failed in  step charge
error      busy: the bank is busy

STEP           STATUS     KIND  TIME (UTC)               ATTEMPTS  RESULT
├─ reserve     succeeded  tx    2026-01-02 03:04:05.678  1         0
└─ charge      failed           2026-01-02 03:04:05.678  3         busy: the bank is busy
   ├─ attempt  failed           2026-01-02 03:04:05.678            busy: the bank is busy
   └─ attempt  failed           2026-01-02 03:04:05.678            busy: the bank is busy
`,
	"order 3": `
run       order 3
workflow  wait
status    suspended
created   2026-01-02 03:04:05.678 UTC
changed   2026-01-02 03:04:05.678 UTC
note      goes on at 2026-01-02 03:04:05.678 UTC
input     1

STEP     STATUS     KIND   TIME (UTC)               ATTEMPTS  RESULT
└─ long  scheduled  sleep  2026-01-02 03:04:05.678            until 2026-01-02 03:04:05.678
`,
	"order 4": `
run       order 4
workflow  crash
status    failed
created   2026-01-02 03:04:05.678 UTC
ended     2026-01-02 03:04:05.678 UTC, after 1.234s
input     "�31m long long long long long long long long long long long long long long lon…
error     panic: so much for �[31mthat

The error came from`,
	"order 5": `
run       order 5
workflow  by hand
status    running
created   2026-01-02 03:04:05.678 UTC
changed   2026-01-02 03:04:05.678 UTC
note      driven by hand
input     null

STEP      STATUS     KIND  TIME (UTC)               ATTEMPTS  RESULT
├─ pack   scheduled        2026-01-02 03:04:05.678
└─ print  failed           2026-01-02 03:04:05.678  1         no ink
`,
}

const wantJSON = `
{
  "id": "order 2",
  "workflow": "take-order",
  "status": "failed",
  "input": 0,
  "error": {
    "message": "the bank is\nbusy",
    "code": "busy",
    "step": "charge"
  },
  "created_at": "2026-01-02 03:04:05.678Z",
  "updated_at": "2026-01-02 03:04:05.678Z",
  "steps": [
    {
      "name": "reserve",
      "status": "succeeded",
      "kind": "tx",
      "result": 0,
      "updated_at": "2026-01-02 03:04:05.678Z"
    },
    {
      "name": "charge",
      "status": "failed",
      "error": {
        "message": "the bank is\nbusy",
        "code": "busy"
      },
      "attempts": {
        "failed": 3,
        "policy": {
          "max_attempts": 3,
          "first_delay": 1000000,
          "factor": 2,
          "max_delay": 300000000000,
          "jitter": 0.2
        },
        "failures": [
          {
            "at": "2026-01-02 03:04:05.678Z",
            "error": {
              "message": "the bank is\nbusy",
              "code": "busy"
            }
          },
          {
            "at": "2026-01-02 03:04:05.678Z",
            "error": {
              "message": "the bank is\nbusy",
              "code": "busy"
            }
          },
          {
            "at": "2026-01-02 03:04:05.678Z",
            "error": {
              "message": "the bank is\nbusy",
              "code": "busy"
            }
          }
        ]
      },
      "updated_at": "2026-01-02 03:04:05.678Z"
    }
  ]
}
`

func TestRunsAndShow(t *testing.T) {
	t.Parallel()
	url := fixture(t).URL()
	printed := func(args ...string) string {
		t.Helper()
		got := invoke(t.Context(), url, args...)
		if got.code != exitOK || got.stderr != "" {
			t.Errorf("workflow %s: exit code %d\n%s", strings.Join(args, " "), got.code, got.stderr)
		}
		return got.stdout
	}

	if diff := cmp.Diff(wantRuns, "\n"+timeless(printed("runs"))); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	for id, want := range wantShow {
		got, _, _ := strings.Cut(timeless(printed("show", id)), "\n  goroutine ") // a stack
		if diff := cmp.Diff(want, "\n"+got); diff != "" {
			t.Errorf("show %s (-want +got):\n%s", id, diff)
		}
	}
	if diff := cmp.Diff(wantJSON, "\n"+timeless(printed("show", "order 2", "--json"))); diff != "" {
		t.Errorf("show --json (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(printed("show", "order 2", "--json"), printed("show", "--schema", "workflows", "--json", "order 2")); diff != "" {
		t.Errorf("show with flags first:\n%s", diff)
	}

	lists := map[string][]string{ // what is listed, by flags
		"": {"order 5", "order 4", "order 3", "order 2", "order 1"}, "--limit 2": {"order 5", "order 4"},
		"--status failed": {"order 4", "order 2"}, "--workflow take-order": {"order 2", "order 1"},
		"--workflow take-order --status running": {}, "--limit=5000": {"order 5", "order 4", "order 3", "order 2", "order 1"},
	}
	for flags, want := range lists {
		var runs []struct{ ID string }
		if err := json.Unmarshal([]byte(printed(append([]string{"runs", "--json"}, strings.Fields(flags)...)...)), &runs); err != nil {
			t.Errorf("runs %s --json: %v", flags, err)
		}
		got := []string{}
		for _, run := range runs {
			got = append(got, run.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("runs %s (-want +got):\n%s", flags, diff)
		}
	}
	if got := printed("runs", "--limit", "4"); !strings.HasSuffix(got, "\nOlder runs are left out; --limit 8 shows as many again.\n") {
		t.Errorf("a part of the runs:\n%s", got)
	}
	if got := printed("runs", "--status=cancelled"); !strings.HasPrefix(got, "RUN ") || strings.Count(got, "\n") != 1 {
		t.Errorf("no runs:\n%s", got)
	}
}

func TestRunsAndShowRefuse(t *testing.T) {
	t.Parallel()
	migrated, empty := pgtest.New(t).URL(), pgtest.Empty(t).URL()
	tests := []struct {
		url, args string
		code      int
		want      string
	}{
		{migrated, "show nothing", exitFailed, `workflow: get run "nothing": run not found`},
		{migrated, "show", exitUsage, "a run is missing"},
		{migrated, "show --json", exitUsage, "a run is missing"},
		{migrated, "show one two", exitUsage, `"two" is one word too many`},
		{migrated, "show --json one two", exitUsage, `"one" is one word too many`},
		{migrated, "show one --jsn", exitUsage, "not defined: -jsn"},
		{migrated, "show " + strings.Repeat("x", 256), exitUsage, "at most 255"},
		{migrated, "runs all", exitUsage, `"all" is one word too many`},
		{migrated, "runs --status done", exitUsage, `--status "done": use pending`},
		{migrated, "runs --limit 0", exitUsage, "at least 1"},
		{migrated, "runs --limit many", exitUsage, `invalid value "many"`},
		{migrated, "runs --schema other", exitFailed, "workflow migrate up"},
		{empty, "show one", exitFailed, "workflow migrate up"},
		{"postgres://u:hunter2@127.0.0.1:1/d", "runs", exitFailed, "connect"},
		{"", "runs", exitUsage, "set --database-url or DATABASE_URL"},
	}
	for _, test := range tests {
		got := invoke(t.Context(), test.url, strings.Fields(test.args)...)
		if got.code != test.code || got.stdout != "" || !strings.Contains(got.stderr, test.want) ||
			strings.Contains(got.stderr, "Usage: ") != (test.code == exitUsage) || strings.Contains(got.stderr, "hunter2") {
			t.Errorf("workflow %s: exit code %d, want %d and %q\n%s%s", test.args, got.code, test.code, test.want, got.stdout, got.stderr)
		}
	}
	for _, command := range []string{"runs", "show"} {
		got := invoke(t.Context(), "", command, "-h")
		if got.code != exitOK || !strings.Contains(got.stdout, "Usage: workflow "+command) || !strings.Contains(got.stdout, "--json  ") {
			t.Errorf("%s -h: exit code %d\n%s", command, got.code, got.stdout)
		}
	}
}

// A run that was cancelled waits for nothing, whatever its steps were waiting for.
func TestShowCancelledRunWaitsForNothing(t *testing.T) {
	t.Parallel()
	soon := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	steps := []workflow.Step{
		{Name: "charge", Status: workflow.StepPending, WakeAt: soon},
		{Name: "night", Status: workflow.StepScheduled, Kind: "sleep", WakeAt: soon},
		{Name: "nap", Status: workflow.StepSucceeded, Kind: "sleep", WakeAt: soon.AddDate(-90, 0, 0)},
	}
	for status, want := range map[workflow.RunStatus]int{workflow.RunSuspended: 2, workflow.RunCancelled: 0} {
		var out strings.Builder
		if err := printRun(&out, workflow.Run{Status: status}, slices.Clone(steps)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "2100-01-01"); got != want || !strings.Contains(out.String(), "until 2010-01-01") {
			t.Errorf("%s: %d times to come, want %d, and the one that has passed:\n%s", status, got, want, out.String())
		}
	}
}
