package fleet_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

const lease = time.Second

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
	kit.Exec(f.t, f.db, statement, args...)
}

func (f *fleet) count(query string, args ...any) int {
	f.t.Helper()
	return kit.One[int](f.t, f.db, query, args...)
}

// lines returns the rows of a query with one text column.
func (f *fleet) lines(query string, args ...any) []string {
	f.t.Helper()
	return kit.Column[string](f.t, f.db, query, args...)
}

// service returns a service on db as a process would have it; change may set more of its Config.
func (f *fleet) service(db *sql.DB, change func(*workflow.Config)) *workflow.Service {
	f.t.Helper()
	config := fast(db)
	if change != nil {
		change(&config)
	}
	svc, err := workflow.New(config)
	kit.Must(f.t, err)
	f.t.Cleanup(func() { kit.Must(f.t, svc.Close()) })
	return svc
}

// fast is the config of workers whose runs wait little.
func fast(db *sql.DB) workflow.Config {
	return workflow.Config{
		DB: db, Lease: lease, PollInterval: 20 * time.Millisecond, ParkAfter: 100 * time.Millisecond, Concurrency: 16,
	}
}

func runID(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }
