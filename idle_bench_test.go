package workflow_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// BenchmarkIdle is what workers cost that have nothing to do, at the defaults and among 100,000 finished runs: docs/operations.md
// has the figures. Each keeps three connections, and they need a server that nobody else uses meanwhile:
//
//	.bin/with-postgres -set max_connections=400 -- go test . -run '^$' -bench Idle -benchtime 1x
func BenchmarkIdle(b *testing.B) {
	nothing := workflow.Define("nothing", func(context.Context, int) (int, error) { return 0, nil })
	for _, workers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			pg := pgtest.New(b)
			side := pg.Open(b, pgtest.PGX)
			if free := kit.One[int](b, side, "SELECT current_setting('max_connections')::int"); free < 3*workers+10 {
				b.Skipf("the server has max_connections = %d", free)
			}
			kit.Exec(b, side, `
				INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
				SELECT n, 'nothing', 'completed', 'null', n, n FROM generate_series(1, 100000) AS n`)
			kit.Exec(b, side, "VACUUM ANALYZE")
			for range workers {
				db := pg.Open(b, pgtest.PGX)
				db.SetMaxIdleConns(2)
				svc, err := workflow.New(workflow.Config{DB: db})
				kit.Must(b, err)
				b.Cleanup(func() { kit.Must(b, svc.Close()) })
				svc.Register(nothing)
				kit.Work(b, svc)
			}
			kit.Pause(b.Context(), 15*time.Second) // begin, and settle
			for b.Loop() {
				before := spentBy(b, side)
				kit.Pause(b.Context(), time.Minute)
				after := spentBy(b, side)
				seconds := after.at.Sub(before.at).Seconds()
				b.ReportMetric((after.statements-before.statements)/seconds, "statements/s")
				b.ReportMetric((after.xids-before.xids)/seconds, "xids/s")
				b.ReportMetric((after.wal-before.wal)/seconds, "WAL-B/s")
				b.ReportMetric(kit.One[float64](b, side, `
					SELECT count(*) FROM pg_stat_activity
					WHERE datname = current_database() AND pid <> pg_backend_pid()`), "connections")
			}
		})
	}
}

type spent struct {
	at                    time.Time
	statements, xids, wal float64
}

// spentBy reads the counters of the database and of the server. Backends report what they did within a second or so of doing it.
func spentBy(b *testing.B, side *sql.DB) spent {
	b.Helper()
	s := spent{at: time.Now()}
	kit.Must(b, side.QueryRowContext(b.Context(), `
		SELECT xact_commit, pg_snapshot_xmax(pg_current_snapshot())::text::float8, pg_current_wal_insert_lsn() - '0/0'
		FROM pg_stat_database WHERE datname = current_database()`).Scan(&s.statements, &s.xids, &s.wal))
	return s
}
