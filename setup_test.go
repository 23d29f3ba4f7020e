package workflow_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// bench is a database with a table for effects, and a service on it in this process.
type bench struct {
	t   *testing.T
	pg  *pgtest.Database
	db  *sql.DB
	svc *workflow.Service
	// lease is that of its services.
	lease time.Duration
}

// calmLease is the lease of services that a test makes: on a busy machine a heartbeat may be seconds late, and whoever loses its lease
// stops its runs.
const calmLease = 15 * time.Second

func setup(t *testing.T) *bench {
	t.Helper()
	return setupWith(t, calmLease)
}

// mortal is setup for a test in which a lease has to end, or something has to come with a heartbeat.
func mortal(t *testing.T) *bench {
	t.Helper()
	return setupWith(t, testLease)
}

func setupWith(t *testing.T, lease time.Duration) *bench {
	t.Helper()
	pg := pgtest.New(t)
	db := pg.Open(t, pgtest.PGX)
	if _, err := db.Exec("CREATE TABLE effects (run_id TEXT, step TEXT, pid TEXT)"); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, pg: pg, db: db, lease: lease}
	b.svc = b.service()
	return b
}

// service returns another service on the database, as another process would have.
func (b *bench) service(changes ...func(*workflow.Config)) *workflow.Service {
	b.t.Helper()
	config := workflow.Config{DB: b.db, Lease: b.lease, PollInterval: 20 * time.Millisecond}
	for _, change := range changes {
		change(&config)
	}
	svc, err := workflow.New(config)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := svc.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return svc
}

// effects returns how often each step of a run took effect, and in which process.
func (b *bench) effects(runID string) map[string][]string {
	b.t.Helper()
	rows, err := b.db.Query("SELECT step, pid FROM effects WHERE run_id = $1 ORDER BY step, pid", runID)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	effects := make(map[string][]string)
	for rows.Next() {
		var step, pid string
		if err := rows.Scan(&step, &pid); err != nil {
			b.t.Fatal(err)
		}
		effects[step] = append(effects[step], pid)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return effects
}

func noHold(context.Context) {}

func untold(error) {}

// inFlight returns how many runs a service executes.
func inFlight(t *testing.T, svc *workflow.Service) int {
	t.Helper()
	stats, err := svc.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return stats.InFlight
}
