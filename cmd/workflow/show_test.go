package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

var update = flag.Bool("update", false, "write testdata/*.golden")

var (
	momentPattern = regexp.MustCompile(`\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(\.\d+)?`)
	tookPattern   = regexp.MustCompile(`after [\d.]+(s|ms)`)
	spanPattern   = regexp.MustCompile(`\b(in|for) (\d+h)?(\d+m)?[\d.]+m?s\b`)
	untilPattern  = regexp.MustCompile(`UTC, in \S+`)
	sincePattern  = regexp.MustCompile(`UTC, \S+ ago`)
	cellPattern   = regexp.MustCompile(`\b(\d+m)?\d+s {2,}`) // of a column SINCE, with what fills it
	epochPattern  = regexp.MustCompile(`\b2\d{4}d`)          // the age of what was created in 1970
	uuidPattern   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// timeless puts one time in place of all.
func timeless(s string) string {
	s = momentPattern.ReplaceAllString(s, "2026-01-02${1}03:04:05.678")
	s = epochPattern.ReplaceAllString(s, "20000d")
	s = uuidPattern.ReplaceAllString(s, "01935a7e-0000-7000-8000-000000000000")
	s = spanPattern.ReplaceAllString(s, "$1 5s")
	s = untilPattern.ReplaceAllString(s, "UTC, in 5s")
	s = sincePattern.ReplaceAllString(s, "UTC, 5s ago")
	return tookPattern.ReplaceAllString(s, "after 1.234s")
}

// golden compares what a command printed with a file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(file, " ", "-")+".golden")
	if *update {
		kit.Must(t, os.WriteFile(path, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(path)
	kit.Must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; write it with go test ./cmd/workflow -run Golden -update):\n%s", path, diff)
	}
}

// printed is what a command printed that went well.
func printed(t *testing.T, url string, args ...string) string {
	t.Helper()
	got := invoke(t.Context(), url, args...)
	if got.code != exitOK || got.stderr != "" {
		t.Errorf("workflow %s: exit code %d\n%s", strings.Join(args, " "), got.code, got.stderr)
	}
	return got.stdout
}

// printed is what a command printed that went well; on a terminal no line is wider than that.
func (o console) printed(t *testing.T, args ...string) string {
	t.Helper()
	got := o.invoke(t.Context(), args...)
	if got.code != exitOK || got.stderr != "" {
		t.Errorf("workflow %s: exit code %d\n%s", strings.Join(args, " "), got.code, got.stderr)
	}
	for line := range strings.Lines(got.stdout) {
		pasted := strings.HasPrefix(line, "    workflow ")
		if o.width > 0 && runewidth.StringWidth(strings.TrimRight(line, "\n")) > o.width && !pasted {
			t.Errorf("workflow %s: a line is wider than %d: %q", strings.Join(args, " "), o.width, line)
		}
	}
	return got.stdout
}

func TestGolden(t *testing.T) {
	t.Parallel()
	url := fixture(t).URL()
	golden(t, "runs", timeless(printed(t, url, "runs")))
	for n := 10; n <= 19; n++ {
		id := "order " + strconv.Itoa(n)
		got, _, _ := strings.Cut(timeless(printed(t, url, "show", id)), "\n  goroutine ") // a stack
		golden(t, id, got)
	}
	for _, id := range []string{"order 11", "order 14", "order 16"} {
		golden(t, id+".json", timeless(printed(t, url, "show", id, "--json")))
	}
	narrow := console{url: url, width: 80}
	golden(t, "runs 80", timeless(narrow.printed(t, "runs", "--status", "failed,cancelled")))
	golden(t, "order 11 80", strings.Split(timeless(narrow.printed(t, "show", "order 11")), "\n  goroutine ")[0])
	for _, id := range []string{"order 11", "order 17"} {
		golden(t, "why "+id, timeless(narrow.printed(t, "why", id)))
	}
	narrow.printed(t, "why")
	golden(t, "why", cellPattern.ReplaceAllString(timeless(printed(t, url, "why")), "0s     "))
	for _, id := range []string{"order 10", "order 12", "order 14", "order 16", "order 19"} {
		golden(t, "why "+id, timeless(printed(t, url, "why", id)))
	}
	golden(t, "why order 16.json", timeless(printed(t, url, "why", "order 16", "--json")))
	if diff := cmp.Diff(printed(t, url, "show", "order 11", "--json"), printed(t, url, "show", "--schema", "workflows", "--json", "order 11")); diff != "" {
		t.Errorf("show with flags first:\n%s", diff)
	}
	lists(t, url)
}

// lists tries the flags that select runs.
func lists(t *testing.T, url string) {
	t.Helper()
	const all = "19 18 17 16 15 14 13 12 11 10"
	for flags, want := range map[string]string{
		"": all, "--limit 2": "19 18", "--limit=5000": all,
		"--status failed": "13 11", "--status failed,cancelled": "15 14 13 11", "--status running --status pending": "19 17",
		"--workflow take-order": "11 10", "--older 99d --newer 101d --workflow take-order": "11 10",
		"--suspended-for by_hand": "18",
	} {
		var runs []struct{ ID string }
		if err := json.Unmarshal([]byte(printed(t, url, append([]string{"runs", "--json"}, strings.Fields(flags)...)...)), &runs); err != nil {
			t.Errorf("runs %s --json: %v", flags, err)
		}
		got := []string{}
		for _, run := range runs {
			got = append(got, strings.TrimPrefix(run.ID, "order "))
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("runs %s (-want +got):\n%s", flags, diff)
		}
	}
	if got := printed(t, url, "runs", "--limit", "4"); !strings.HasSuffix(got, "\nOlder runs are left out; --limit 8 shows as many again.\n") {
		t.Errorf("a part of the runs:\n%s", got)
	}
	if got := invoke(t.Context(), url, "runs", "--status=completed", "--workflow=none"); got.code != exitNothing || got.stdout != "" {
		t.Errorf("no runs: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// What the list says of runs that the fixture lacks.
func TestNote(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later := now.Add(time.Hour)
	problem := &workflow.Error{Code: "c", Message: "why"}
	for _, test := range []struct {
		run  workflow.Run
		want string
	}{
		{workflow.Run{Status: workflow.RunPending, UpdatedAt: now, RunAt: now}, "waits for a worker"},
		{workflow.Run{Status: workflow.RunPending, UpdatedAt: now, RunAt: later}, "waits until 2026-01-02 04:04:05.000 UTC"},
		{workflow.Run{Status: workflow.RunRunning, UpdatedAt: now, Owner: "w\n1"}, "by worker w 1"},
		{workflow.Run{Status: workflow.RunRunning, UpdatedAt: now, Owner: "w1", Err: problem}, "by worker w1"}, // it was blocked
		{workflow.Run{Status: workflow.RunSuspended, UpdatedAt: now, SuspendedFor: workflow.SuspendedForTime, RunAt: now}, "goes on at 2026-01-02 03:04:05.000 UTC"},
		{workflow.Run{Status: workflow.RunSuspended, UpdatedAt: now, SuspendedFor: "a signal"}, "waits for a signal"},
		{workflow.Run{Status: workflow.RunCancelled, UpdatedAt: now, Err: problem}, "c: why"},
	} {
		if got := note(test.run); got != test.want {
			t.Errorf("%s: note %q, want %q", test.run.Status, got, test.want)
		}
	}
}

// What hangs is shown with its process while it hangs.
func TestShowWhatIsInFlight(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	service, err := workflow.New(workflow.Config{DB: database.Open(t, pgtest.PQ), Lease: time.Second, PollInterval: 20 * time.Millisecond})
	kit.Must(t, err)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	w := workflow.Define("hangs", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(workflow.Branch(ctx, "card"), "charge", func(context.Context) (int, error) { <-release; return 1, nil })
	})
	service.Register(w)
	kit.Work(t, service)
	handle, err := w.Start(t.Context(), service, 1)
	kit.Must(t, err)
	var shown string
	kit.Until(t, "the step is shown", func() bool {
		shown = printed(t, database.URL(), "show", handle.RunID())
		return strings.Contains(shown, "in flight")
	})
	run, err := service.GetRun(t.Context(), handle.RunID())
	kit.Must(t, err)
	host, err := os.Hostname()
	kit.Must(t, err)
	line := regexp.MustCompile(`(?m)^in flight  step "card/charge" for [\d.]+m?s, worker ` + run.Owner + ` \(process ` +
		strconv.Itoa(os.Getpid()) + ` on ` + regexp.QuoteMeta(host) + `\)$`)
	if !line.MatchString(shown) || !strings.Contains(shown, "\nnote       by worker "+run.Owner+"\n") {
		t.Errorf("want a line %s, and the worker:\n%s", line, shown)
	}
	var got struct {
		InFlight []struct {
			Step, Worker, Host string
			Since              time.Time
			PID                int
		} `json:"in_flight"`
	}
	kit.Must(t, json.Unmarshal([]byte(printed(t, database.URL(), "show", run.ID, "--json")), &got))
	if len(got.InFlight) != 1 {
		t.Fatalf("in JSON: %+v", got)
	}
	if s := got.InFlight[0]; s.Step != "card/charge" || s.Worker != run.Owner || s.Host != host || s.PID != os.Getpid() || s.Since.Before(run.CreatedAt) {
		t.Errorf("in JSON: %+v", s)
	}
	free()
	_, err = handle.Result(kit.Context(t))
	kit.Must(t, err)
	if shown := printed(t, database.URL(), "show", run.ID); strings.Contains(shown, "in flight") {
		t.Errorf("after the end:\n%s", shown)
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
		{migrated, "show nothing", exitNothing, `workflow: get run "nothing": run not found`},
		{migrated, "show", exitUsage, "a run is missing"},
		{migrated, "show --json", exitUsage, "a run is missing"},
		{migrated, "show one two", exitUsage, `"two" is one word too many`},
		{migrated, "show --json one two", exitUsage, `"two" is one word too many`},
		{migrated, "show one --jsn", exitUsage, "unknown flag: --jsn"},
		{migrated, "show " + strings.Repeat("x", 256), exitUsage, "at most 255"},
		{migrated, "runs all", exitUsage, `"all" is one word too many`},
		{migrated, "runs --status done", exitUsage, `"done" is no status: use pending, running, suspended, completed, failed or cancelled, or several`},
		{migrated, "runs --status failed,", exitUsage, `"" is no status`},
		{migrated, "runs --limit 0", exitUsage, "at least 1"},
		{migrated, "runs --limit many", exitUsage, `invalid argument "many"`},
		{migrated, "runs --status failed", exitNothing, "no run matches"},
		{migrated, "runs --suspended-for fun", exitUsage, "use time, signal, children, blocked or by_hand"},
		{migrated, "runs --newer yesterday", exitUsage, "an age such as 90s, 2h or 30d"},
		{migrated, "runs --newer -1h", exitUsage, "an age such as"},
		{migrated, "runs --attribute customer", exitUsage, "want NAME=VALUE"},
		{migrated, "why nothing", exitNothing, "run not found"},
		{migrated, "why nothing --status failed", exitUsage, "leave out the runs or the filters"},
		{migrated, "why --queue none", exitNothing, "no run matches"},
		{migrated, "runs --schema other", exitFailed, "workflow migrate up"},
		{empty, "show one", exitFailed, "workflow migrate up"},
		{"postgres://u:hunter2@127.0.0.1:1/d", "runs", exitFailed, "connect"},
		{"", "runs", exitUsage, "set --database-url or DATABASE_URL"},
	}
	for _, test := range tests {
		got := invoke(t.Context(), test.url, strings.Fields(test.args)...)
		if got.code != test.code || got.stdout != "" || !strings.Contains(got.stderr, test.want) ||
			strings.Contains(got.stderr, "--help") != (test.code == exitUsage) || strings.Contains(got.stderr, "hunter2") {
			t.Errorf("workflow %s: exit code %d, want %d and %q\n%s%s", test.args, got.code, test.code, test.want, got.stdout, got.stderr)
		}
	}
	for _, command := range []string{"runs", "show"} {
		got := invoke(t.Context(), "", command, "-h")
		if got.code != exitOK || !strings.Contains(got.stdout, "  workflow "+command) || !strings.Contains(got.stdout, "--json  ") {
			t.Errorf("%s -h: exit code %d\n%s", command, got.code, got.stdout)
		}
	}
}
