package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// statement returns the text of a statement that do has the store send.
func statement(t *testing.T, counter *counting.Counter, name string, do func() error) string {
	t.Helper()
	counter.Take()
	kit.Must(t, do())
	_, texts := counter.TakeTexts()
	for _, text := range texts {
		if pg.NameOf(text) == name {
			return text
		}
	}
	t.Fatalf("no statement %q among %q", name, texts)
	return ""
}

// A plan is what EXPLAIN says of a statement that it has executed.
type plan map[string]any

func (p plan) number(key string) int {
	n, _ := p[key].(float64)
	return int(n)
}

// pages is how many pages of 8 kB the statement read.
func (p plan) pages() int { return p.number("Shared Hit Blocks") + p.number("Shared Read Blocks") }

func (p plan) wal() int { return p.number("WAL Bytes") }

func (p plan) String() string {
	text, _ := json.MarshalIndent(p, "", " ")
	return string(text)
}

// explain executes a statement with arguments as literals, in a transaction that must not get an id if it is to write nothing.
func explain(t *testing.T, tx *sql.Tx, text string, args ...string) plan {
	t.Helper()
	name := pg.NameOf(text)
	kit.Exec(t, tx, fmt.Sprintf("PREPARE %q AS %s", name, text))
	var answer []byte
	kit.Must(t, tx.QueryRowContext(t.Context(), fmt.Sprintf("EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) EXECUTE %q ('%s')", name,
		strings.Join(args, "', '"))).Scan(&answer))
	kit.Exec(t, tx, fmt.Sprintf("DEALLOCATE %q", name))
	var plans []struct{ Plan plan }
	kit.Must(t, json.Unmarshal(answer, &plans))
	return plans[0].Plan
}

// full fills the tables with runs that are finished, parked, and another workflow's.
const full = `
	INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
	SELECT 'parked' || n, 'w', 'suspended', '1'::jsonb, 1, 1, 9000000000000 + n FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'done' || n, 'w', 'completed', '1'::jsonb, 1, 1, NULL FROM generate_series(1, 20000) AS n
	UNION ALL
	SELECT 'foreign' || n, 'other', 'pending', '1'::jsonb, 1, 1, n FROM generate_series(1, 2000) AS n`

// A poll that finds nothing takes no transaction id, writes no WAL and reads a few pages, however many runs there are, in
// whatever way it is sent and whether the tables were ever analysed or not.
func TestEmptyClaimWritesNothing(t *testing.T) {
	t.Parallel()
	for _, statements := range []store.Statements{store.Single, store.InTx} {
		b, counter := counted(t, pgtest.PGX)
		st := store.New(b.db, store.Options{Schema: "workflows", Statements: statements, Timeout: kit.Patience, Lease: lease})
		worker(t, st, "me")
		kit.Exec(t, b.side, full)
		poll := func() error {
			got, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10, Suspects: true})
			if err == nil && len(got.Runs) > 0 {
				t.Fatalf("claimed %v", got.Runs)
			}
			return err
		}
		text := statement(t, counter, "claim_runs", poll)
		for _, analysed := range []bool{false, true} {
			if analysed {
				kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_workers")
			}
			what, most := fmt.Sprintf("statements %d, analysed %t: an empty poll", statements, analysed), limit{pages: 12}
			got := least(t, what, most, func() spent {
				got := b.spendsOf(t, text, "me", "{w}", "{0}", "10", "t")
				if got.xid {
					t.Errorf("%s has a transaction id", what)
				}
				return got
			})
			if !got.within(most) {
				t.Errorf("%s: %d bytes of WAL, %d pages; want none, and 12 at most:\n%s", what, got.wal, got.pages, got.plan)
			}
		}
	}
}

// An old snapshot elsewhere keeps the index entries of all runs that have passed. A poll with marks does not walk them, nor does
// a heartbeat those of the runs that its worker had.
func TestOldSnapshotElsewhere(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience, Lease: lease})
	worker(t, st, "me")
	held := store.Owned{RunID: "held", Epoch: 1}
	poll := statement(t, counter, "claim_runs", func() error {
		_, err := st.Claim(t.Context(), store.ClaimRequest{Worker: "me", Marks: map[string]int64{"w": 0}, Limit: 10})
		return err
	})
	beat := statement(t, counter, "heartbeat", func() error {
		_, err := st.Heartbeat(t.Context(), store.Beat{ID: "me", Lease: lease, Held: []store.Owned{held}})
		return err
	})
	old := kit.Begin(t, b.side, sql.LevelRepeatableRead)
	kit.One[int](t, old, `SELECT count(*) FROM workflows.workflow_runs`)
	kit.Exec(t, b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
		SELECT 'passed' || n, 'w', 'pending', '1', n, n, n FROM generate_series(1, 20000) AS n;
		UPDATE workflows.workflow_runs SET status = 'running', owner = 'me', epoch = 1, run_at = NULL;
		UPDATE workflows.workflow_runs SET status = 'completed', owner = NULL;
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, owner, epoch)
		VALUES ('held', 'w', 'running', '1', 1, 1, 'me', 1)`)
	pages := func(what string, most int, text string, args ...string) int {
		t.Helper()
		return least(t, what, limit{most, unbounded}, func() spent { return b.spendsOf(t, text, args...) }).pages
	}
	all := pages("a full look", unbounded, poll, "me", "{w}", "{0}", "10", "f")
	if all < 200 {
		t.Fatalf("a full look reads %d pages: nothing has passed", all)
	}
	if marked := pages("a poll with marks", 12, poll, "me", "{w}", "{20000}", "10", "f"); marked > 12 {
		t.Errorf("a poll with marks read %d pages, want 12 at most; a full look %d", marked, all)
	}
	if got := pages("a heartbeat", 20, beat, "me", "60000", "{w}", "{held,gone}", "{1,1}", "{held}", "{step}", "{9000}"); got > 20 {
		t.Errorf("a heartbeat read %d pages, want 20 at most", got)
	}
}
