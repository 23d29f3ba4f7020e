package engine_test

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// What a statement may read, in pages of 8 kB, among 20,000 runs with ten steps each (some 7,000 pages): a claim of 50 runs is
// the largest.
const lookUpPages = 1500

// The statements of the hot paths look rows up by index, whether they were planned on empty tables, as a driver's prepared
// statement often is, or on full ones with statistics.
func TestPlansAmongManyRuns(t *testing.T) {
	t.Parallel()
	pg := pgtest.New(t)
	side := pg.Open(t, pgtest.PQ)
	p, db := newProcess(t, pg, pgtest.PGX, "planned", cut{})
	statements := hotPaths(t, p, db)

	early := prepared(t, pg, "force_generic_plan", statements)
	kit.Exec(t, side, `
		TRUNCATE workflows.workflow_runs CASCADE;
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, epoch, owner)
		SELECT 'owned' || n, 'known', 'running', '1', 1, 1, 1, 'me'
		FROM generate_series(1, 3) AS n;
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, created_at, updated_at, epoch)
		SELECT 'done' || n, 'known', 'completed', '1', '1', n, n, 1
		FROM generate_series(1, 20000) AS n;
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
		SELECT 'pending' || n, 'known', 'pending', '1', 1, 1, n
		FROM generate_series(1, 1000) AS n;
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, dispatched_at)
		SELECT 'dispatched' || n, 'known', 'pending', '1', 1, 1, 100000 + n, CASE WHEN n % 2 = 0 THEN 200000 + n ELSE 0 END
		FROM generate_series(1, 2000) AS n;
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at)
		SELECT 'done' || run, 'step' || step, 'succeeded', to_jsonb(repeat('x', 100)), run
		FROM generate_series(1, 20000) AS run, generate_series(1, 10) AS step;
		INSERT INTO workflows.workflow_signals (run_id, name, seq, key, payload, sent_at)
		SELECT 'done' || n, 'a', seq, CASE WHEN seq = 1 THEN 'k' END, '1', n
		FROM generate_series(1, 20000) AS n, generate_series(1, 2) AS seq;`+openWait)
	check := func(what string, conn *sql.Conn) {
		for name, s := range statements {
			root := leastPrepared(t, conn, name, s, lookUpPages)
			if pages := root.pages(); pages > lookUpPages || root.scansAll() {
				t.Errorf("%s, planned %s: %d pages, want at most %d, and no scan of all:\n%s", name, what, pages, lookUpPages, root)
			}
		}
	}
	list := statements["list"]
	delete(statements, "list") // any plan of it goes by the index, but one from before there were statistics reads all of that
	check("on empty tables", early)
	statements["list"] = list
	kit.Exec(t, side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_steps; ANALYZE workflows.workflow_signals")
	check("with statistics, for all arguments", prepared(t, pg, "force_generic_plan", statements))
	check("with statistics, for these arguments", prepared(t, pg, "force_custom_plan", statements))
}

// openWait gives a run a step that waits for a child, which has ended.
const openWait = `
	INSERT INTO workflows.workflow_steps (run_id, step_name, status, kind, waiting, child_id, updated_at)
	VALUES ('pending1', 'open', 'scheduled', 'call', 0, 'child', 1);
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id, parent_step)
	VALUES ('child', 'known', 'completed', '1', 1, 1, 'pending1', 'open')`

// hotPaths has a store send the statements that runs are made of, and returns them by name.
func hotPaths(t *testing.T, p *process, db *sql.DB) map[string]sent {
	t.Helper()
	st := store.New(db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience})
	kit.Must(t, st.RegisterWorker(t.Context(), store.Worker{ID: "me"}, kit.Patience))
	one := json.RawMessage("1")
	_, err := st.CreateRun(t.Context(), store.NewRun{ID: "pending1", Workflow: "known", Input: one})
	kit.Must(t, err)
	kit.Exec(t, db, openWait)
	inbox := func() error {
		_, err := st.ReadInbox(t.Context(), store.InboxRequest{RunID: "pending1", After: map[string]int64{"a": 0, "b": 7}, Steps: []string{"open"}})
		return err
	}
	start := func(id string) store.Write {
		return store.NewRun{ID: id, Workflow: "known", Input: one, Owner: "me"}
	}
	step := func(run, name string) store.Write {
		return &store.Checkpoint{Owned: store.Owned{RunID: run, Epoch: 1}, Name: name, Result: one}
	}
	end := func(run string) store.Write {
		return &store.End{Owned: store.Owned{RunID: run, Epoch: 1}, Status: store.RunCompleted, Output: one}
	}
	write := func(rows ...store.Write) func() error {
		return func() error { _, err := st.Write(t.Context(), rows); return err }
	}
	statements := make(map[string]sent)
	for _, path := range []struct {
		name, label string
		do          func() error
	}{
		{"start", "start_run", write(start("new1"))},
		{"checkpoint_step", "checkpoint_step", write(step("owned1", "a"))},
		{"end_run", "end_run", write(end("owned1"))},
		{"write_rows", "write_rows", write(start("new2"), start("new3"), step("owned2", "a"), step("owned2", "b"), end("owned3"))},
		{"claim_runs", "claim_runs", func() error {
			_, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"known": 0, "other": 0}, Limit: 50, Suspects: true})
			return err
		}},
		{"claim_run", "claim_run", func() error {
			_, _, err := st.ClaimRun(t.Context(), store.RunRequest{Worker: "me", RunID: "dispatched1", Workflows: []string{"known"}})
			return err
		}},
		{"announce_runs", "announce_runs", func() error {
			_, err := st.Announce(t.Context(), store.AnnounceRequest{Limit: 25, After: 1, Again: true, Aside: []string{"x"}})
			return err
		}},
		{"take_back_announcements", "take_back_announcements", func() error {
			return st.TakeBackAnnouncements(t.Context(), []string{"dispatched1", "done7", "unknown"})
		}},
		{"load_steps", "load_steps", func() error { _, err := st.LoadSteps(t.Context(), []string{"done7", "owned1"}); return err }},
		{"load_woken", "load_woken", func() error {
			_, err := st.Load(t.Context(), []store.ClaimedRun{
				{Owned: store.Owned{RunID: "done7"}, WaitedFor: []string{"signal:a", "step:x"}}, {Owned: store.Owned{RunID: "owned1"}},
			})
			return err
		}},
		{"find_ended", "find_ended", func() error { _, _, err := st.Ended(t.Context(), []string{"done7", "owned1", "unknown"}); return err }},
		{"list", "list_runs", func() error { _, err := st.ListRuns(t.Context(), store.RunFilter{Limit: 50}); return err }},
		{"look_back", "look_back", func() error {
			_, err := st.ListRuns(t.Context(), store.RunFilter{Limit: 50, Workflow: "w", MaxLook: 100})
			return err
		}},
		{"recent_runs", "recent_runs", func() error { _, err := st.RecentRuns(t.Context(), kit.Patience, lease, 100); return err }},
		{"look_at_queues", "look_at_queues", func() error { _, err := st.LookAtQueues(t.Context(), 100); return err }},
		{"find_orphans", "find_orphans", func() error { _, err := st.TakeOver(t.Context(), "me"); return err }},
		{"heartbeat", "heartbeat", func() error {
			_, err := st.Heartbeat(t.Context(), store.Beat{
				ID: "me", Lease: kit.Patience, Held: []store.Owned{{RunID: "owned1", Epoch: 1}},
				Hanging: []store.HangingStep{{RunID: "owned2", Step: "x"}, {RunID: "done7", Step: "step3"}},
			})
			return err
		}},
		{"send_signal", "send_signal", func() error {
			_, err := st.SendSignal(t.Context(), store.NewSignal{RunID: "pending1", Name: "a", Key: "k", Payload: one})
			return err
		}},
		{"signal", "send_signal", write(store.NewSignal{RunID: "pending1", Name: "a", Key: "l", Payload: one})},
		{"signals", "send_signals", write(
			store.NewSignal{RunID: "pending1", Name: "a", Key: "m", Payload: one},
			store.NewSignal{RunID: "pending2", Name: "a", Payload: one}, store.NewSignal{RunID: "done7", Name: "a", Payload: one})},
		{"read_inbox", "read_inbox", inbox},
		{"list_child_ends", "list_child_ends", inbox},
		{"wake_seqs", "wake_seqs", func() error { _, err := st.WakeSeqs(t.Context(), []string{"done7", "owned1", "unknown"}); return err }},
		{"list_signals", "list_signals", func() error { _, err := st.ListSignals(t.Context(), "pending1"); return err }},
		{"set_step", "set_step", func() error {
			return st.SetStep(t.Context(), store.NewStep{RunID: "pending1", Name: "open", Status: store.StepSucceeded, Result: one})
		}},
		{"take", "take_step", write(&store.Take{Owned: store.Owned{RunID: "owned1", Epoch: 1}, Name: "wait", Kind: store.SignalStep, Result: one})},
		{"takes", "write_rows", write(
			&store.Take{Owned: store.Owned{RunID: "owned1", Epoch: 1}, Name: "wait", Kind: store.SignalStep, Result: one},
			&store.Take{Owned: store.Owned{RunID: "owned2", Epoch: 1}, Name: "wait", Kind: store.SignalStep, Result: one},
			&store.Park{Owned: store.Owned{RunID: "owned3", Epoch: 1}, For: store.ForSignal, WaitsFor: []string{"signal:a"}})},
		{"steps_in_flight", "steps_in_flight", func() error { _, err := st.StepsInFlight(t.Context(), ""); return err }},
		{"list_workers", "list_workers", func() error { _, err := st.ListWorkers(t.Context()); return err }},
	} {
		kit.Must(t, path.do())
		s, found := p.newest(path.label)
		if !found {
			t.Fatalf("%s: no statement %q", path.name, path.label)
		}
		statements[path.name] = s
	}
	return statements
}

// prepared returns a connection on which the statements are prepared, and planned once.
func prepared(t *testing.T, pg *pgtest.Database, plans string, statements map[string]sent) *sql.Conn {
	t.Helper()
	conn, err := pg.Open(t, pgtest.PQ).Conn(t.Context())
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, conn.Close()) })
	_, err = conn.ExecContext(t.Context(), "SET plan_cache_mode = "+plans)
	kit.Must(t, err)
	for name, s := range statements {
		if _, err := conn.ExecContext(t.Context(), fmt.Sprintf("PREPARE %q AS %s", name, s.text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.ExecContext(t.Context(), fmt.Sprintf("EXPLAIN EXECUTE %q %s", name, s.literals())); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return conn
}

// leastPrepared is explainPrepared until so many pages are read, and no more: the first execution reads the catalog too, and while somebody
// else reads the database, such as autovacuum, dead entries of indexes are walked.
func leastPrepared(t *testing.T, conn *sql.Conn, name string, s sent, most int) (root planNode) {
	t.Helper()
	for n := 0; n == 0 || root.pages() > most && n < 100; n++ {
		if n > 1 {
			kit.Pause(t.Context(), 20*time.Millisecond)
		}
		root = explainPrepared(t, conn, name, s)
	}
	t.Logf("%s: %d of %d pages", name, root.pages(), most)
	return root
}

// explainPrepared executes a prepared statement and rolls it back.
func explainPrepared(t *testing.T, conn *sql.Conn, name string, s sent) planNode {
	t.Helper()
	tx, err := conn.BeginTx(t.Context(), nil)
	kit.Must(t, err)
	defer func() { kit.Must(t, tx.Rollback()) }()
	var text []byte
	row := tx.QueryRow(fmt.Sprintf("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE %q %s", name, s.literals()))
	if err := row.Scan(&text); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var plans []struct{ Plan planNode }
	kit.Must(t, json.Unmarshal(text, &plans))
	return plans[0].Plan
}

// literals returns the arguments for EXECUTE.
func (s sent) literals() string {
	var args []string
	for _, a := range s.args {
		value := a.Value
		if valuer, ok := value.(driver.Valuer); ok {
			value, _ = valuer.Value() // of a sql.NullString or the like
		}
		if value == nil {
			args = append(args, "NULL")
			continue
		}
		args = append(args, "'"+strings.ReplaceAll(fmt.Sprint(value), "'", "''")+"'")
	}
	if args == nil {
		return ""
	}
	return "(" + strings.Join(args, ", ") + ")"
}

// scansAll reports whether the plan reads one of the large tables from end to end.
func (n planNode) scansAll() bool {
	relation, _ := n["Relation Name"].(string)
	if n["Node Type"] == "Seq Scan" && slices.Contains([]string{"workflow_runs", "workflow_steps", "workflow_signals"}, relation) {
		return true
	}
	children, _ := n["Plans"].([]any)
	for _, child := range children {
		if planNode(child.(map[string]any)).scansAll() {
			return true
		}
	}
	return false
}
