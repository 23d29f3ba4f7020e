package store_test

import (
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// queueTexts has a store send the statements of queues, and returns them by name.
func queueTexts(t *testing.T, counter *counting.Counter, st *store.Store) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for name, do := range map[string]func() error{
		"claim_queue": func() error {
			_, err := st.ClaimQueue(t.Context(), store.QueueRequest{Worker: "me", Queue: "q", Workflows: []string{"w"}, Limit: 1, Single: true})
			return err
		},
		"claim_partitions": func() error {
			_, err := st.ClaimQueue(t.Context(), store.QueueRequest{Worker: "me", Queue: "q", Workflows: []string{"w"}, Limit: 1})
			return err
		},
		"find_queues": func() error {
			_, err := st.FindQueues(t.Context(), store.FindRequest{Workflows: []string{"w"}})
			return err
		},
		"claim_run": func() error {
			_, _, err := st.ClaimRun(t.Context(), store.RunRequest{Worker: "me", RunID: "run", Workflows: []string{"w"}})
			return err
		},
		"find_overdue":       func() error { _, err := st.Overdue(t.Context()); return err },
		"unserved_queues":    func() error { _, err := st.UnservedQueues(t.Context()); return err },
		"unserved_workflows": func() error { _, err := st.UnservedWorkflows(t.Context()); return err },
		"claim_runs": func() error {
			_, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 1})
			return err
		},
	} {
		texts[name] = statement(t, counter, name, do)
	}
	return texts
}

func (p plan) children() (all []plan) {
	children, _ := p["Plans"].([]any)
	for _, child := range children {
		if node, ok := child.(map[string]any); ok {
			all = append(all, node)
		}
	}
	return all
}

// scans are the tables that a plan reads from one end to the other.
func (p plan) scans() (tables []string) {
	if loops := p.number("Actual Loops"); p["Node Type"] == "Seq Scan" && loops > 0 {
		name, _ := p["Relation Name"].(string)
		tables = append(tables, name)
	}
	for _, child := range p.children() {
		tables = append(tables, child.scans()...)
	}
	return tables
}

// Among 100,000 waiting runs of one tenant, 10,000 partitions, many finished runs and many of unknown workflows, what a claim of a queue
// reads is bounded, by indexes alone, whether it was planned on empty tables or with statistics, for these arguments or for all. One
// that finds nothing, or no room, writes nothing.
func TestQueuePlans(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	worker(t, st, "me")
	for _, q := range []store.Queue{
		{Name: "long"}, {Name: "tenants"}, {Name: "full", MaxRunning: 50}, {Name: "one", MaxRunning: 51, MaxPerWorker: 100, MaxPerPartition: 60},
		{Name: "empty", MaxRunning: 50}, {Name: "rated", RateCount: 1, RateWindow: 3600e9}, {Name: "strange"},
	} {
		kit.Must(t, st.SetQueue(t.Context(), q))
	}
	texts := queueTexts(t, counter, st)
	conns := map[string]*sql.Conn{"on empty tables": b.planned(t, "force_generic_plan", texts)}
	kit.Exec(t, b.side, queuesFull)
	check := func(when string, conn *sql.Conn) {
		for _, test := range queueCosts {
			got := leastPrepared(t, conn, test.name+", planned "+when, test.execute, test.limit)
			if scans := got.plan.scans(); slices.Contains(scans, "workflow_runs") || slices.Contains(scans, "workflow_steps") {
				t.Errorf("%s, planned %s, scans %q:\n%s", test.name, when, scans, got.plan)
			}
			if rows := got.plan.number("Actual Rows"); rows != test.rows {
				t.Errorf("%s, planned %s: %d rows, want %d", test.name, when, rows, test.rows)
			}
		}
	}
	check("on empty tables", conns["on empty tables"])
	kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_queues; ANALYZE workflows.workflow_queue_turns")
	check("with statistics, for all arguments", b.planned(t, "force_generic_plan", texts))
	check("with statistics, for these arguments", b.planned(t, "force_custom_plan", texts))
}

// planned returns a connection on which statements are prepared and, for a plan that is kept, planned.
func (b *bundle) planned(t *testing.T, mode string, texts map[string]string) *sql.Conn {
	t.Helper()
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, conn.Close()) })
	kit.Exec(t, conn, "SET plan_cache_mode = "+mode)
	for name, text := range texts {
		kit.Exec(t, conn, "PREPARE "+name+" AS "+text)
	}
	for _, test := range queueCosts {
		kit.Exec(t, conn, "EXPLAIN "+test.execute)
	}
	return conn
}

const queuesFull = `
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key, owner)
	SELECT 'long' || n, 'w', 'pending', '1'::jsonb, 1, 1, n, 'long', 2, '', NULL FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'whale' || n, 'w', 'pending', '1'::jsonb, 1, 1, n, 'tenants', 2, 'whale', NULL FROM generate_series(1, 100000) AS n
	UNION ALL
	SELECT 'fish' || n, 'w', 'pending', '1'::jsonb, 1, 1, n, 'tenants', 2, lpad(n::text, 5, '0'), NULL FROM generate_series(1, 10000) AS n
	UNION ALL
	SELECT 'full' || n, 'w', CASE WHEN n <= 50 THEN 'running' ELSE 'pending' END, '1'::jsonb, 1, 1, CASE WHEN n > 50 THEN n END,
	       CASE WHEN n <= 200 THEN 'full' ELSE 'one' END, 2, 'p' || n % 200, CASE WHEN n <= 50 THEN 'me' END
	FROM generate_series(1, 1000) AS n
	UNION ALL
	SELECT 'one' || n, 'w', 'running', '1'::jsonb, 1, 1, NULL, 'one', 2, 'p' || n, 'me' FROM generate_series(1, 50) AS n
	UNION ALL
	SELECT 'done' || n, 'w', 'completed', '1'::jsonb, 1, 1, NULL, (ARRAY['long', 'full', 'empty'])[1 + n % 3], 2, '', NULL FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'parked' || n, 'w', 'suspended', '1'::jsonb, 1, 1, 9000000000000 + n, 'empty', 2, '', NULL FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'strange' || n, 'x' || n % 3, 'pending', '1'::jsonb, 1, 1, n, 'strange', 2, 'p' || n % 7, NULL FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'plain' || n, 'w', 'pending', '1'::jsonb, 1, 1, n, NULL, NULL, NULL, NULL FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'rated' || n, 'w', 'pending', '1'::jsonb, 1, 1, n, 'rated', 2, '', NULL FROM generate_series(1, 1000) AS n;
	UPDATE workflows.workflow_queue_turns SET free_at = 1000000 * extract(epoch FROM now() + interval '30 minutes') WHERE queue = 'rated'`

func executeClaim(queue, after string, limit int) string {
	return fmt.Sprintf("EXECUTE claim_partitions ('me', '%s', '{v,w}', '{0,0,0,0,0,0,0,0,0,0}', '%d', 't', '%s')", queue, limit, after)
}

func executeSingle(queue string, limit int) string {
	return fmt.Sprintf("EXECUTE claim_queue ('me', '%s', '{v,w}', '{0,0,0,0,0,0,0,0,0,0}', '%d', 't')", queue, limit)
}

// queueCosts are what the statements of queues may cost.
var queueCosts = []struct {
	name    string
	execute string
	limit
	rows int
}{
	{"a claim of 50", executeSingle("long", 50), limit{1300, 31000}, 50},
	{"a claim of one", executeSingle("long", 1), limit{90, 2000}, 1},
	{"a claim of 50 with partitions in mind", executeClaim("long", "", 50), limit{1300, 31000}, 50},
	{"a claim of one with partitions in mind", executeClaim("long", "", 1), limit{120, 2000}, 1},
	{"a claim without partitions in mind", executeSingle("tenants", 50), limit{50, 0}, 1},
	{"a claim of 50 from 10,000 partitions", executeClaim("tenants", "00500", 50), limit{1500, 31000}, 50},
	{"a claim of one from 10,000 partitions", executeClaim("tenants", "00500", 1), limit{150, 2000}, 1},
	{"a claim of one place among 200 partitions", executeClaim("one", "p7", 50), limit{300, 2000}, 1},
	{"no room", executeClaim("full", "", 50), limit{100, 0}, 1},
	{"no room, alone", executeSingle("full", 50), limit{100, 0}, 1},
	{"no room at the rate", executeSingle("rated", 50), limit{50, 0}, 1},
	{"no room at the rate with partitions in mind", executeClaim("rated", "", 50), limit{50, 0}, 1},
	{"nothing due", executeSingle("empty", 50), limit{100, 0}, 1},
	{"nothing due with partitions in mind", executeClaim("empty", "", 50), limit{100, 0}, 1},
	{"nothing that is known", executeSingle("strange", 50), limit{100, 0}, 1},
	{"nothing that is known with partitions in mind", executeClaim("strange", "", 50), limit{100, 0}, 1},
	{"what is due", "EXECUTE find_queues ('{v,w}', '{}', 't', '{}')", limit{300, 0}, 5},
	{"one run", "EXECUTE claim_run ('me', 'long77', '{w}', false)", limit{100, 2000}, 1},
	{"one run without a place", "EXECUTE claim_run ('me', 'full77', '{w}', false)", limit{100, 0}, 1},
	{"overdue runs", "EXECUTE find_overdue", limit{10, 0}, 0},
	{"unserved queues", "EXECUTE unserved_queues", limit{200, 0}, 3},
	{"unserved workflows", "EXECUTE unserved_workflows", limit{50, 0}, 0},
}

// A claim of fifty runs of a queue without limits costs hardly more than one of runs without a queue: one statement, and the WAL of
// the turn.
func TestQueueClaimCostsAsMuch(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	worker(t, st, "me")
	kit.Must(t, st.SetQueue(t.Context(), store.Queue{Name: "long"}))
	texts := queueTexts(t, counter, st)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT lpad(n::text, 36, '0'), 'w', 'pending', '1'::jsonb, 1, 1, n, CASE WHEN n % 2 = 0 THEN 'long' END,
		       CASE WHEN n % 2 = 0 THEN 2 END, CASE WHEN n % 2 = 0 THEN '' END
		FROM generate_series(1, 20000) AS n;
		ANALYZE workflows.workflow_runs`)
	conn := b.planned(t, "force_generic_plan", texts)
	for _, n := range []int{1, 50} {
		plain := limit{math.MaxInt, math.MaxInt}
		for range 10 { // the first reads the catalog, and some split a page
			got := spends(t, conn, fmt.Sprintf("EXECUTE claim_runs ('me', '{w}', '{0}', '%d', 't')", n))
			plain.pages, plain.wal = min(plain.pages, got.pages), min(plain.wal, got.wal)
		}
		t.Logf("a claim of %d without a queue: %d pages, %d bytes of WAL", n, plain.pages, plain.wal)
		// A run has one more entry of an index, by which limits count, and the turn a version. Another version of the run's row would be
		// twice that.
		leastPrepared(t, conn, fmt.Sprintf("a claim of %d of a queue", n), strings.Replace(executeSingle("long", n), "{v,w}", "{w}", 1),
			limit{plain.pages + n + 60, plain.wal + 150*n + 350})
	}
	counter.Take()
	claimed, err := st.ClaimQueue(t.Context(), store.QueueRequest{
		Worker: "me", Queue: "long", Workflows: []string{"w"}, Limit: 50, Single: true,
	})
	if counts := counter.Take(); err != nil || len(claimed.Runs) != 50 || counts.Statements != 1 || counts.Begins > 0 {
		t.Errorf("%+v for %d runs, %v", counts, len(claimed.Runs), err)
	}
}
