package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// pendings is a database with runs of a workflow that nobody works at.
func pendings(t *testing.T, name string, ids ...string) (url string, service *workflow.Service) {
	t.Helper()
	database := pgtest.New(t)
	service, err := workflow.New(workflow.Config{DB: database.Open(t, pgtest.PQ)})
	kit.Must(t, err)
	for _, id := range ids {
		_, err := service.CreateRunWithID(t.Context(), id, name, nil)
		kit.Must(t, err)
	}
	return database.URL(), service
}

// with returns the ids of the runs that have a status.
func with(t *testing.T, service *workflow.Service, status workflow.RunStatus) string {
	t.Helper()
	page, err := service.ListRuns(t.Context(), workflow.RunFilter{Statuses: []workflow.RunStatus{status}})
	kit.Must(t, err)
	ids := []string{}
	for _, run := range page.Runs {
		ids = append(ids, run.ID)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// A step of a test: what is typed, the exit code, and a part of what is printed to either side.
type typed struct {
	args   string
	answer string
	code   int
	out    string
	err    string
}

func (s typed) check(t *testing.T, url string) {
	t.Helper()
	got := console{url: url, answer: s.answer, now: true}.invoke(t.Context(), strings.Fields(s.args)...)
	if got.code != s.code || !strings.Contains(got.stdout, s.out) || !strings.Contains(got.stderr, s.err) {
		t.Errorf("workflow %s: exit code %d, want %d, %q and %q\n%s%s", s.args, got.code, s.code, s.out, s.err, got.stdout, got.stderr)
	}
	if s.out == "" && got.stdout != "" || s.err == "" && got.stderr != "" {
		t.Errorf("workflow %s printed\n%s%s", s.args, got.stdout, got.stderr)
	}
}

// Runs are cancelled and resumed by name or filter; who is there is asked, and who is not has to say yes before.
func TestCancelAndResume(t *testing.T) {
	t.Parallel()
	url, service := pendings(t, "w", "a", "b", "c", "d", "e")
	for _, step := range []typed{
		{"cancel", "", exitUsage, "", "say which"},
		{"cancel a --status pending", "", exitUsage, "", "leave out the runs"},
		{"cancel a", "", exitUsage, "", "no terminal to ask on: add --yes"},
		{"cancel a", "n\n", exitFailed, "", "nothing was done"},
		{"cancel a", "\n", exitFailed, "", "Cancel run a, with what has been started by it? [y/N]"},
		{"cancel nothing", "y\n", exitNothing, "", "run not found"},
		{"cancel a", "y\n", exitOK, "Cancelled 1 run.\n", "[y/N]"},
		{"cancel a nothing b --yes", "", exitNothing, "Cancelled 2 runs.\n", "run not found"},
		{"resume a", "", exitOK, "Resumed 1 run.\n", ""},
		{"resume a c d", "", exitRefused, "c: ", "3 runs could not be moved"},
		{"cancel --workflow none --yes", "", exitNothing, "", "no run matches"},
		{"cancel --status completed --yes", "", exitUsage, "", `has "completed"`},
		{"cancel --workflow w --dry-run", "", exitOK, "Would cancel 4 runs.\n", ""},
		{"cancel --workflow w", "", exitUsage, "", "Cancel 4 runs that the filter selects? There is no terminal"},
		{"cancel --workflow w --older 1h --yes", "", exitNothing, "", "no run matches"},
		{"cancel --workflow w", "yes\n", exitOK, "Cancelled 4 runs.\n", "Cancel 4 runs"},
		{"resume --status cancelled --yes", "", exitOK, "Resumed 5 runs.\n", ""},
	} {
		step.check(t, url)
	}
	if got := with(t, service, workflow.RunPending); got != "a b c d e" {
		t.Errorf("pending: %s", got)
	}
	var moved map[string]any
	kit.Must(t, json.Unmarshal([]byte(printed(t, url, "cancel", "a", "--yes", "--json")), &moved))
	want := map[string]any{"dry_run": false, "selected": 1.0, "changed": 1.0, "left": 0.0}
	if diff := cmp.Diff(want, moved); diff != "" {
		t.Errorf("in JSON (-want +got):\n%s", diff)
	}
	got := invoke(t.Context(), url, "resume", "a", "b", "--json")
	if !strings.Contains(got.stdout, `"run_id": "b"`) || got.code != exitRefused || with(t, service, workflow.RunCancelled) != "" {
		t.Errorf("one of two: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	kit.Must(t, service.UpdateRunStatus(t.Context(), "c", workflow.RunRunning, nil, nil))
	kit.Must(t, service.UpdateRunStatus(t.Context(), "c", workflow.RunCompleted, 1, nil))
	typed{"cancel c --yes", "", exitRefused, "", "completed"}.check(t, url)
	typed{"resume c", "", exitRefused, "", "completed"}.check(t, url)
}

// What is old is deleted after a question, and only that.
func TestPruneCommand(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	url, db := database.URL(), database.Open(t, pgtest.PQ)
	kit.Exec(t, db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
		SELECT status || n, 'w' || n % 2, status, '1', at, at
		FROM (SELECT (extract(epoch FROM now() - interval '40 days') * 1000)::bigint) AS made (at)
		CROSS JOIN unnest(ARRAY['completed', 'failed', 'pending']) AS status
		CROSS JOIN generate_series(1, 4) AS n`)
	for _, step := range []typed{
		{"prune", "", exitUsage, "", "--older is missing"},
		{"prune --older 30d", "", exitUsage, "", "add --yes"},
		{"prune --older 30d --status pending --yes", "", exitUsage, "", "only finished runs go"},
		{"prune --older 30d --batch 100000 --yes", "", exitUsage, "", "at most 10000"},
		{"prune --older 30d", "no\n", exitFailed, "", "nothing was done"},
		{"prune --older 50d --yes", "", exitOK, "Deleted 0 runs that ended before ", ""},
		{"prune --older 30d --dry-run", "", exitOK, "Would delete 8 runs", ""},
		{"prune --older 30d --status failed --workflow w1", "y\n", exitOK, "Deleted 2 runs", "Delete the runs that ended before "},
		{"prune --older 5w --yes --json", "", exitOK, `"deleted": 6`, ""},
		{"runs --json --status completed,failed", "", exitNothing, "[]", "no run matches"},
	} {
		step.check(t, url)
	}
	if left := kit.One[int](t, db, `SELECT count(*) FROM workflows.workflow_runs`); left != 4 {
		t.Errorf("%d runs are left, want 4", left)
	}
}

// Each error has its code, whatever is wrapped around it.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	url, service := pendings(t, "w", "a")
	kit.Must(t, service.EnsureQueue(t.Context(), workflow.Queue{Name: "images"}))
	for _, step := range []typed{
		{"runs", "", exitOK, "RUN ", ""},
		{"runs --schema other", "", exitFailed, "", "workflow migrate up"},
		{"runs --limit x", "", exitUsage, "", "--limit"},
		{"why b", "", exitNothing, "", "not found"},
		{"queues pause b", "", exitNothing, "", "not found"},
		{"schedules trigger b", "", exitNothing, "", "not found"},
		{"schedules delete b --yes", "", exitNothing, "", "not found"},
		{"signal b paid", "", exitNothing, "", "not found"},
		{"decide b/manager true --by anna", "", exitNothing, "", "not found"},
		{"decide a/manager true --by anna", "", exitNothing, "", "asks nothing"},
		{"resume a", "", exitRefused, "", "pending"},
		{"doctor --sample 0", "", exitUnhealthy, "Start a process that works", ""},
	} {
		step.check(t, url)
	}
}
