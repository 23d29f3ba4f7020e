package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// findings are what doctor has found, by check, those of a check in one.
func findings(t *testing.T, url string, args ...string) (found map[string]finding, code int) {
	t.Helper()
	got := console{url: url, now: true}.invoke(t.Context(), append([]string{"doctor", "--json", "--sample", "0"}, args...)...)
	var report struct {
		Healthy  *bool
		Findings []finding
	}
	kit.Must(t, json.Unmarshal([]byte(got.stdout), &report))
	if got.stderr != "" || report.Healthy == nil || *report.Healthy != (got.code == exitOK) {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	found = make(map[string]finding)
	for _, f := range report.Findings {
		before := found[f.Check]
		f.Text, f.Advice = before.Text+f.Text, append(before.Advice, f.Advice...)
		found[f.Check] = f
	}
	return found, got.code
}

func (f finding) has(t *testing.T, state string, parts ...string) {
	t.Helper()
	all := f.Text + "\n" + strings.Join(f.Advice, "\n")
	for _, part := range parts {
		if f.State != state || !strings.Contains(all, part) {
			t.Errorf("%s is %s, want %s and %q:\n%s", f.Check, f.State, state, part, all)
		}
	}
}

// All is well where somebody works and nothing is wrong, and each check has looked.
func TestDoctorFindsNothing(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	w := workflow.Define("take-order", takeOrder)
	service := serve(t, db, w)
	kit.Work(t, service)
	start(t, w, service, 3, "order 1")
	kit.Until(t, "the worker is there", func() bool { workers, err := service.ListWorkers(t.Context()); return err == nil && len(workers) == 1 })

	found, code := findings(t, database.URL())
	var names []string
	for _, check := range checks {
		if f := found[check.name]; f.State != ok && check.name != "snapshots" && check.name != "clock" { // which other tests may disturb
			t.Errorf("%s: %+v", check.name, f)
		}
		names = append(names, check.name)
	}
	if code != exitOK || len(found) != len(names) {
		t.Errorf("exit code %d, checks %q, found %v", code, names, found)
	}
	found["connection"].has(t, ok, "Direct, as role")
	found["workers"].has(t, ok, "1 worker alive, executing 0 runs.")
	found["runs"].has(t, ok, "1 completed")
	found["rights"].has(t, ok, "may do all")
	text := console{url: database.URL(), width: 80, now: true}.invoke(t.Context(), "doctor", "--sample", "1ms")
	if !strings.Contains(text.stdout, "transactions a second") || text.code != exitOK {
		t.Errorf("exit code %d\n%s%s", text.code, text.stdout, text.stderr)
	}
}

// What is wrong is found, with what to do about it.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	url, db := database.URL(), database.Open(t, pgtest.PQ)
	ctx := t.Context()
	service, err := workflow.New(workflow.Config{DB: db})
	kit.Must(t, err)
	w := workflow.Define("report", takeOrder)
	kit.Must(t, service.SetQueue(ctx, workflow.Queue{Name: "images"}))
	kit.Must(t, service.PauseQueue(ctx, "images"))
	kit.Must(t, w.SetSchedule(ctx, service, workflow.Schedule{Name: "nightly", Cron: "@daily"}, 1))
	kit.Exec(t, db, `UPDATE workflows.workflow_schedules SET next_at = 5`)
	for _, id := range []string{"r1", "r2"} {
		_, err := w.Start(ctx, service, 1, workflow.WithRunID(id))
		kit.Must(t, err)
	}
	kit.Exec(t, db, `
		INSERT INTO workflows.workflow_workers (id, expires_at, started_at, host, pid, workflows) VALUES ('dead', 5, 1, 'h', 7, '{report}')`)
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'dead' WHERE id = 'r1'`)
	kit.Exec(t, db, `UPDATE workflows.workflow_runs SET run_at = run_at - 7200000 WHERE id = 'r2'`)

	found, code := findings(t, url)
	if code != exitUnhealthy {
		t.Errorf("exit code %d", code)
	}
	found["workers"].has(t, bad, "0 workers alive", "Nobody has taken over the runs of process 7 on h, gone for", "with 1 run")
	found["runs"].has(t, warn, "1 pending, 1 running", "has waited to be claimed for 2h0m", "workflow why --status pending", `"report" (1)`)
	found["queues"].has(t, warn, `"images" is paused for`, "workflow queues resume images")
	found["schedules"].has(t, warn, `"nightly" is overdue by`)
	text := console{url: url, width: 80}.invoke(ctx, "doctor", "--sample", "0")
	if !strings.Contains(text.stdout, "bad   workers") || !strings.HasSuffix(text.stdout, " to look at.\n") || text.stderr != "" {
		t.Errorf("exit code %d\n%s%s", text.code, text.stdout, text.stderr)
	}
	for line := range strings.Lines(text.stdout) {
		if len([]rune(line)) > 81 && !strings.Contains(line, "  workflow ") {
			t.Errorf("a line of %d: %q", len([]rune(line)), line)
		}
	}
}

// A schema that is not there, and one that is old.
func TestDoctorOnSchemas(t *testing.T) {
	t.Parallel()
	found, code := findings(t, pgtest.Empty(t).URL())
	found["schema"].has(t, bad, "has no tables of ours", "workflow migrate up")
	if _, looked := found["runs"]; looked || code != exitUnhealthy {
		t.Errorf("exit code %d: %v", code, found)
	}
	database := pgtest.New(t)
	if got := invoke(t.Context(), database.URL(), "migrate", "down", "--yes"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	found, _ = findings(t, database.URL())
	found["schema"].has(t, bad, "lacks 1 migration of this release", "workflow migrate up")
	got := invoke(t.Context(), "postgres://u:hunter2@127.0.0.1:1/d", "doctor")
	if got.code != exitFailed || strings.Contains(got.stderr, "hunter2") || !strings.Contains(got.stderr, "connect") {
		t.Errorf("nobody answers: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// Rights that a role lacks are told as the statements that grant them, and these are enough.
func TestDoctorOnRights(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	role := "doctor_" + kit.One[string](t, db, `SELECT replace(gen_random_uuid()::text, '-', '')`)
	kit.Exec(t, db, `CREATE ROLE `+role)
	t.Cleanup(func() {
		kit.Exec(t, db, `DROP OWNED BY `+role)
		kit.Exec(t, db, `DROP ROLE `+role)
	})
	found, _ := findings(t, database.URL(), "--role", role)
	rights := found["rights"]
	rights.has(t, bad, "lacks rights", `GRANT USAGE ON SCHEMA "workflows" TO "`+role+`";`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON workflows.workflow_runs TO `+role+`;`,
		`GRANT SELECT ON workflows.workflow_migrations TO `+role+`;`)
	for _, grant := range rights.Advice {
		kit.Exec(t, db, grant)
	}
	found, _ = findings(t, database.URL(), "--role", role)
	found["rights"].has(t, ok, "Role "+role+" may do all")
	found, _ = findings(t, database.URL(), "--role", "no_such_role")
	found["rights"].has(t, bad, "cannot be looked at", "no_such_role")
}

// A session that holds rows and does nothing, a long snapshot and dead rows are somebody's to end: by the statements that are told.
func TestDoctorOnOthers(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	db := database.Open(t, pgtest.PQ)
	d := &diagnosis{c: &cli{target: target{schema: "workflows"}}, db: db}
	kit.Exec(t, db, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at) VALUES ('r', 'w', 'pending', '1', 1, 1)`)
	conn, err := db.Conn(t.Context())
	kit.Must(t, err)
	defer conn.Close()
	tx, err := conn.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	kit.Must(t, err)
	pid := kit.One[string](t, tx, `SELECT pg_backend_pid()::text`)
	kit.Exec(t, tx, `SET LOCAL application_name = 'forgotten'`)
	kit.Exec(t, tx, `UPDATE workflows.workflow_runs SET workflow = 'x' WHERE id = 'r'`)

	// The bounds are those of people: a test asks with none.
	query := func() string {
		return strings.ReplaceAll(locksQuery(d.schemaLiteral()), seconds(longLock), "0 seconds")
	}
	holders, err := d.holders(t.Context(), query())
	kit.Must(t, err)
	if len(holders) != 1 || holders[0].pid != pid || !strings.Contains(holders[0].text(), "(forgotten), idle in transaction, for ") {
		t.Fatalf("holders: %+v", holders)
	}
	kit.Exec(t, db, holders[0].end())
	kit.Until(t, "the session is gone", func() bool {
		holders, err := d.holders(t.Context(), query())
		return err == nil && len(holders) == 0
	})
	_ = tx.Rollback()

	snapshot := kit.Begin(t, db, sql.LevelRepeatableRead)
	kit.One[int](t, snapshot, `SELECT count(*) FROM workflows.workflow_runs`)
	snapshotPID := kit.One[string](t, snapshot, `SELECT pg_backend_pid()::text`)
	all, err := d.holders(t.Context(), strings.ReplaceAll(snapshotsQuery, seconds(longSnapshot), "0 seconds"))
	kit.Must(t, err)
	found := false
	for _, h := range all {
		found = found || h.pid == snapshotPID
	}
	if !found && len(all) < 5 { // of other tests, which share the server
		t.Errorf("a snapshot of process %s is not among %+v", snapshotPID, all)
	}
}

// What stands between is told apart: a pooler in transaction mode, which asks for something, and what cannot be known from outside.
func TestDoctorOnConnections(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"transaction": "Through a pooler in transaction mode",
		"session":     "a pooler in session mode, a proxy or NAT",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			database := pgtest.New(t)
			found, _ := findings(t, database.AccessURL(t, pgtest.PQ.In(mode)))
			found["connection"].has(t, ok, want, "binary_parameters=yes")
		})
	}
	_, through := kit.NewProxy(t, pgtest.New(t).URL())
	found, _ := findings(t, through)
	found["connection"].has(t, ok, "Through something in between")
}

func TestDoctorIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := invoke(ctx, pgtest.New(t).URL(), "doctor")
	if diff := cmp.Diff(exitFailed, got.code); diff != "" || got.stdout != "" {
		t.Errorf("%s\n%s%s", diff, got.stdout, got.stderr)
	}
}
