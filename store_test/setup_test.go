package store_test

import (
	"database/sql"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// each runs a test by every access of this mode.
func each(t *testing.T, test func(t *testing.T, access pgtest.Access)) {
	t.Helper()
	by(t, pgtest.Accesses, test)
}

// eachThatCancels is each for a test whose contexts end while the server works: not through a PgBouncer that it might end.
func eachThatCancels(t *testing.T, test func(t *testing.T, access pgtest.Access)) {
	t.Helper()
	accesses := slices.Clone(pgtest.Accesses)
	if !pgtest.PoolerSurvivesCancel() {
		accesses = slices.DeleteFunc(accesses, func(a pgtest.Access) bool { return a.Pooled })
	}
	by(t, accesses, test)
}

func by(t *testing.T, accesses []pgtest.Access, test func(t *testing.T, access pgtest.Access)) {
	t.Helper()
	t.Parallel()
	if !pgtest.Full() {
		accesses = []pgtest.Access{pgtest.PQ}
	}
	for _, access := range accesses {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			test(t, access)
		})
	}
}

// bundle is what a test works with: a database of its own, and a service on it.
type bundle struct {
	*pgtest.Database
	access pgtest.Access
	db     *sql.DB // the application's pool, by the access under test
	side   *sql.DB // a direct one: holds locks against the service, and looks on
	svc    *workflow.Service
	calm   *workflow.Service // on side, with the usual bounds: prepares what the test is about
}

// setup returns a bundle with a migrated database.
func setup(t *testing.T, access pgtest.Access, changes ...func(*workflow.Config)) *bundle {
	t.Helper()
	return on(t, pgtest.New(t), access, changes...)
}

// on returns a bundle on a database that exists.
func on(t *testing.T, database *pgtest.Database, access pgtest.Access, changes ...func(*workflow.Config)) *bundle {
	t.Helper()
	b := &bundle{Database: database, access: access, db: database.Open(t, access), side: database.Open(t, pgtest.PQ)}
	b.svc, b.calm = b.service(t, b.db, changes...), b.service(t, b.side)
	return b
}

// service returns one more service on a pool, closed when the test ends.
func (b *bundle) service(t *testing.T, db *sql.DB, changes ...func(*workflow.Config)) *workflow.Service {
	t.Helper()
	config := workflow.Config{DB: db}
	for _, change := range changes {
		change(&config)
	}
	svc, err := workflow.New(config)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	return svc
}

// short is a bound of the library's that a test runs into.
const short = 250 * time.Millisecond

func lockTimeout(d time.Duration) func(*workflow.Config) {
	return func(c *workflow.Config) { c.LockTimeout = d }
}

func timeout(d time.Duration) func(*workflow.Config) {
	return func(c *workflow.Config) { c.Timeout = d }
}

// newRun creates a run of workflow "w" and returns its id.
func (b *bundle) newRun(t *testing.T) string {
	t.Helper()
	id, err := b.calm.CreateRun(t.Context(), "w", map[string]int{"n": 1})
	kit.Must(t, err)
	return id
}

// runIn creates a run and brings it to a status.
func (b *bundle) runIn(t *testing.T, status workflow.RunStatus) string {
	t.Helper()
	id := b.newRun(t)
	if status == workflow.RunSuspended {
		kit.Must(t, b.calm.UpdateRunStatus(t.Context(), id, workflow.RunRunning, nil, nil))
	}
	if status != workflow.RunPending {
		kit.Must(t, b.calm.UpdateRunStatus(t.Context(), id, status, nil, nil))
	}
	return id
}

// ownedRun creates a run that a worker executes.
func (b *bundle) ownedRun(t *testing.T) string {
	t.Helper()
	id := b.newRun(t)
	kit.Exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody', epoch = 1, run_at = NULL
		WHERE id = $1`, id)
	return id
}

// holdRow locks a run's row from another session until release is called or the test ends.
func (b *bundle) holdRow(t *testing.T, id string) (release func()) {
	t.Helper()
	tx := kit.Begin(t, b.side)
	kit.Exec(t, tx, `SELECT id FROM workflows.workflow_runs WHERE id = $1 FOR UPDATE`, id)
	return func() { kit.Must(t, tx.Rollback()) }
}

// waiting returns how many sessions of this database wait for a lock.
func (b *bundle) waiting(t *testing.T) int {
	t.Helper()
	return kit.One[int](t, b.side, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`)
}

// wantJSON compares as JSON; "" is no JSON at all.
func wantJSON(t testing.TB, what string, got json.RawMessage, want string) {
	t.Helper()
	if diff := cmp.Diff(parse(t, json.RawMessage(want)), parse(t, got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// none is what parse returns for no JSON, which is not JSON null.
type none struct{}

func parse(t testing.TB, text json.RawMessage) any {
	t.Helper()
	if len(text) == 0 {
		return none{}
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
