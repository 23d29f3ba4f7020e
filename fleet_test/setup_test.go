package fleet_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

const (
	lease    = time.Second
	patience = time.Minute // for what must happen in the end
)

// A fleet is a database that several workers share, with tables for effects and for the history of its runs.
type fleet struct {
	t  *testing.T
	pg *pgtest.Database
	db *sql.DB // of the test itself, direct
}

func setup(t *testing.T) *fleet {
	t.Helper()
	pg := pgtest.New(t)
	f := &fleet{t: t, pg: pg, db: pg.Open(t, pgtest.PGX)}
	f.db.SetMaxIdleConns(10)
	f.exec(tables)
	return f
}

func (f *fleet) exec(statement string, args ...any) {
	f.t.Helper()
	if _, err := f.db.ExecContext(context.Background(), statement, args...); err != nil {
		f.t.Fatalf("%.200s: %v", statement, err)
	}
}

func (f *fleet) count(query string, args ...any) int {
	f.t.Helper()
	return one[int](f, query, args...)
}

func one[T any](f *fleet, query string, args ...any) T {
	f.t.Helper()
	var answer T
	if err := f.db.QueryRowContext(context.Background(), query, args...).Scan(&answer); err != nil {
		f.t.Fatalf("%.200s: %v", query, err)
	}
	return answer
}

// lines returns the rows of a query with one text column.
func (f *fleet) lines(query string, args ...any) []string {
	f.t.Helper()
	rows, err := f.db.QueryContext(context.Background(), query, args...)
	must(f.t, err)
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		must(f.t, rows.Scan(&line))
		lines = append(lines, line)
	}
	must(f.t, rows.Err())
	return lines
}

// service returns a service on db as a process would have it; change may set more of its Config.
func (f *fleet) service(db *sql.DB, change func(*workflow.Config)) *workflow.Service {
	f.t.Helper()
	config := fast(db)
	if change != nil {
		change(&config)
	}
	svc, err := workflow.New(config)
	must(f.t, err)
	f.t.Cleanup(func() { must(f.t, svc.Close()) })
	return svc
}

// fast is the config of workers whose runs wait little.
func fast(db *sql.DB) workflow.Config {
	return workflow.Config{
		DB: db, Lease: lease, PollInterval: 20 * time.Millisecond, ParkAfter: 100 * time.Millisecond, Concurrency: 16,
	}
}

// work makes a service work until the test ends, or until the function that it returns is called, which waits for it.
func (f *fleet) work(svc *workflow.Service) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Work(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("work: %v", err)
		}
	}
	f.t.Cleanup(stop)
	return stop
}

// until polls for something that must happen within patience.
func (f *fleet) until(what string, happened func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for !happened() {
		if time.Now().After(deadline) {
			f.t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// receive waits for a signal that must come within patience.
func receive[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
	}
	return v
}

// within bounds a wait for something that must happen.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func runID(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }
