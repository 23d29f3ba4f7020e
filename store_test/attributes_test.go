package store_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// Who has lost a run sets none of its attributes, nor does a record that is sent again.
func TestAttributesAreFenced(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		st := writer(t, b)
		owned, finished, locked := b.ownedRun(t), b.runIn(t, workflow.RunCompleted), b.ownedRun(t)
		b.holdRow(t, locked)
		kit.Exec(t, b.side, `INSERT INTO workflows.workflow_attributes (created_at, run_id, name, value) VALUES (1, $1, 'gone', 'kept')`, owned)
		for _, test := range []struct {
			name, value string
			run         store.Owned
			want        store.Outcome
		}{
			{"an older epoch", "old", store.Owned{RunID: owned}, store.Lost},
			{"finished", "late", store.Owned{RunID: finished}, store.Lost},
			{"unknown", "none", store.Owned{RunID: "unknown", Epoch: 1}, store.Lost},
			{"locked", "locked", store.Owned{RunID: locked, Epoch: 1}, store.Locked},
			{"owned", "right", store.Owned{RunID: owned, Epoch: 1}, store.Written},
			{"sent again", "again", store.Owned{RunID: owned, Epoch: 1}, store.Exists},
		} {
			outcomes, err := st.Write(t.Context(), []store.Write{&store.Checkpoint{
				Owned: test.run, Name: "s", Kind: store.AttributesStep, Seq: 1, Result: json.RawMessage(`{"name": "` + test.value + `", "gone": ""}`), Again: true,
			}})
			if kit.Must(t, err); outcomes[0] != test.want {
				t.Errorf("%s: %s, want %s", test.name, outcomes[0], test.want)
			}
			if test.want == store.Exists { // was set after what it is sent again: below
				continue
			}
			kept := kit.One[bool](t, b.side, `SELECT EXISTS (SELECT FROM workflows.workflow_attributes WHERE name = 'gone')`)
			if kept == (test.want == store.Written) {
				t.Errorf("%s: an attribute to be removed is there: %t", test.name, kept)
			}
			if test.want == store.Written {
				kit.Exec(t, b.side, `INSERT INTO workflows.workflow_attributes (created_at, run_id, name, value) VALUES (1, $1, 'gone', 'later')`, owned)
			}
		}
		got := kit.Column[string](t, b.side, `SELECT run_id || ' ' || name || '=' || value FROM workflows.workflow_attributes ORDER BY name`)
		if want := owned + " gone=later, " + owned + " name=right"; strings.Join(got, ", ") != want {
			t.Errorf("attributes %q, want %q", got, want)
		}
	})
}

// manyAttributes: of runs that are of one shop each hundredth is of one customer, and each is of a day with a hundred others.
const manyAttributes = `
INSERT INTO workflows.workflow_attributes (created_at, run_id, name, value)
SELECT n, 'done' || n, name, value
FROM generate_series(1, 20000) AS n
CROSS JOIN LATERAL (VALUES ('shop', '1'), ('customer', CASE WHEN n % 100 = 0 THEN 'anna' ELSE 'c' || n END), ('day', (n / 100)::text)) AS a (name, value)`

// The newest page is read from an index in its order, planned on empty tables or with statistics: nothing is sorted, and as little read
// among many runs as among few, also where one of two attributes is that of all runs.
func TestListByAttributesPlans(t *testing.T) {
	t.Parallel()
	b, counter := counted(t, pgtest.PGX)
	st := store.New(b.db, store.Options{Schema: "workflows", Statements: store.Single, Timeout: kit.Patience})
	const name = "list_runs_by_attributes"
	text := statement(t, counter, name, func() error {
		_, err := st.ListRuns(t.Context(), store.RunFilter{Limit: 20, Attributes: store.Attributes{"shop": "1"}})
		return err
	})
	tests := []struct {
		what, cursor, names, values, look string
		pages                             int
	}{
		{"all runs", "NULL, NULL", "{shop}", "{1}", "0", 250},
		{"all runs, a later page", "10000, 'done10000'", "{shop}", "{1}", "0", 250},
		{"few runs", "NULL, NULL", "{customer}", "{anna}", "0", 250},
		{"few of all", "NULL, NULL", "{shop,customer}", "{1,anna}", "1000", 700},
		{"none of many", "NULL, NULL", "{shop,customer,day}", "{1,anna,nobody}", "1000", 400},
		{"one of few", "NULL, NULL", "{customer,day,shop}", "{anna,7,1}", "1000", 2000},
	}
	conn, err := b.side.Conn(t.Context())
	kit.Must(t, err)
	defer func() { kit.Must(t, conn.Close()) }()
	kit.Exec(t, conn, "SET plan_cache_mode = force_generic_plan")
	kit.Exec(t, conn, "PREPARE "+name+" AS "+text)
	execute := func(i int) string {
		test := tests[i]
		return "EXECUTE " + name + " (" + test.cursor + ", NULL, NULL, NULL, NULL, 21, NULL, NULL, '" + test.names + "', '" + test.values + "', " +
			test.look + ")"
	}
	kit.Exec(t, conn, execute(0))
	kit.Exec(t, b.side, full)
	kit.Exec(t, b.side, manyAttributes)
	for _, planned := range []string{"on empty tables", "with statistics"} {
		if planned == "with statistics" {
			kit.Exec(t, b.side, "ANALYZE workflows.workflow_runs; ANALYZE workflows.workflow_attributes")
			kit.Exec(t, conn, "DEALLOCATE ALL")
			kit.Exec(t, conn, "PREPARE "+name+" AS "+text)
		}
		for i, test := range tests {
			p := least(t, test.what+", planned "+planned, limit{pages: test.pages}, func() spent { return spentOn(explained(t, conn, execute(i))) }).plan
			if p.pages() > test.pages || p.wal() > 0 || len(p.scans()) > 0 || p.sorts() > 1 { // of those attributes that are asked for
				t.Errorf("%s, planned %s: %d pages, %d bytes of WAL, %d sorts, reads all of %v:\n%s",
					test.what, planned, p.pages(), p.wal(), p.sorts(), p.scans(), p)
			}
		}
	}
}

// sorts is how many nodes sort.
func (p plan) sorts() (n int) {
	if p["Node Type"] == "Sort" || p["Node Type"] == "Incremental Sort" {
		n++
	}
	for _, child := range p.children() {
		n += child.sorts()
	}
	return n
}
