package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
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
	b.svc = b.service(t, b.db, changes...)
	return b
}

// service returns one more service on a pool, closed when the test ends.
func (b *bundle) service(t *testing.T, db *sql.DB, changes ...func(*workflow.Config)) *workflow.Service {
	t.Helper()
	config := workflow.Config{DB: db}
	if b.access.Params["binary_parameters"] == "yes" {
		config.Statements = workflow.StatementsSingle // the fast way that the README offers
	}
	for _, change := range changes {
		change(&config)
	}
	svc, err := workflow.New(config)
	must(t, err)
	t.Cleanup(func() { must(t, svc.Close()) })
	return svc
}

// patience bounds what a test waits for; it is met only by a test that fails.
const patience = 20 * time.Second

// short is a bound of the library's that a test runs into.
const short = 150 * time.Millisecond

func lockTimeout(d time.Duration) func(*workflow.Config) {
	return func(c *workflow.Config) { c.LockTimeout = d }
}

func timeout(d time.Duration) func(*workflow.Config) {
	return func(c *workflow.Config) { c.Timeout = d }
}

// newRun creates a run of workflow "w" and returns its id.
func (b *bundle) newRun(t *testing.T) string {
	t.Helper()
	id, err := b.svc.CreateRun(t.Context(), "w", map[string]int{"n": 1})
	must(t, err)
	return id
}

// runIn creates a run and brings it to a status.
func (b *bundle) runIn(t *testing.T, status workflow.RunStatus) string {
	t.Helper()
	id := b.newRun(t)
	if status == workflow.RunSuspended {
		must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunRunning, nil, nil))
	}
	if status != workflow.RunPending {
		must(t, b.svc.UpdateRunStatus(t.Context(), id, status, nil, nil))
	}
	return id
}

// ownedRun creates a run that a worker executes.
func (b *bundle) ownedRun(t *testing.T) string {
	t.Helper()
	id := b.newRun(t)
	exec(t, b.side, `UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody', epoch = 1, run_at = NULL
		WHERE id = $1`, id)
	return id
}

// begin begins a transaction of the application, rolled back at the end unless the test ends it.
func begin(t *testing.T, db *sql.DB, isolation ...sql.IsolationLevel) *sql.Tx {
	t.Helper()
	options := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	if len(isolation) > 0 {
		options.Isolation = isolation[0]
	}
	// Not the test's context: its end would roll back while a goroutine of database/sql looks on.
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), options)
	must(t, err)
	t.Cleanup(func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("rollback: %v", err)
		}
	})
	return tx
}

// holdRow locks a run's row from another session until release is called or the test ends.
func (b *bundle) holdRow(t *testing.T, id string) (release func()) {
	t.Helper()
	tx := begin(t, b.side)
	exec(t, tx, `SELECT id FROM workflows.workflow_runs WHERE id = $1 FOR UPDATE`, id)
	return func() { must(t, tx.Rollback()) }
}

// waiters polls until n sessions of this database wait for a lock.
func (b *bundle) waiters(t *testing.T, n int) {
	t.Helper()
	poll(t, fmt.Sprintf("%d waiters", n), func() bool { return n <= b.waiting(t) })
}

// waiting returns how many sessions of this database wait for a lock.
func (b *bundle) waiting(t *testing.T) int {
	t.Helper()
	return one[int](t, b.side, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`)
}

// poll asks until the answer is yes.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after %v", what, patience)
		}
	}
}

// result waits for a goroutine's answer.
func result[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no answer after %v", patience)
		panic("unreachable")
	}
}

// async runs f in a goroutine that the test waits for.
func async(t *testing.T, f func() error) <-chan error {
	t.Helper()
	done, out := make(chan struct{}), make(chan error, 1)
	go func() { defer close(done); out <- f() }()
	t.Cleanup(func() { result(t, done) })
	return out
}

// together runs f in n goroutines that start at once, and returns their errors.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func exec(t *testing.T, on execer, query string, args ...any) {
	t.Helper()
	if _, err := on.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// one returns the only value of the only row.
func one[T any](t *testing.T, on queryer, query string, args ...any) T {
	t.Helper()
	var v T
	if err := on.QueryRowContext(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantIs checks an error, nil included.
func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error = %v, want %v", err, want)
	}
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

// sqlState returns the SQLSTATE of an error, as an application would look for it.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// patienceFor is a bound that only a broken library reaches; it fires late enough for a busy machine.
func patienceFor(d time.Duration) <-chan time.Time { return time.After(max(d, 3*time.Second)) }
