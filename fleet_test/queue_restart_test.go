package fleet_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/internal/server"
)

// setupOwnServer returns a fleet on a server that nobody else uses.
func setupOwnServer(t *testing.T) (f *fleet, url string) {
	t.Helper()
	own, err := server.Start(t.Context(), server.Options{Run: server.NewRun()})
	if errors.Is(err, server.ErrNone) {
		t.Skipf("NOT RUN: a server of its own: %v", err)
	}
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, own.Close()) })
	db, err := sql.Open(pgtest.PGX.Driver, own.URL)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	f = &fleet{t: t, db: db}
	kit.Must(t, f.service(db, nil).Init(t.Context()))
	f.exec(tables)
	f.exec(claimsTable)
	return f, own.URL
}

// crash makes the server end all its sessions at once, whatever they are doing, and recover: so it does when one of them is killed. The
// shell's parent is the session.
func (f *fleet) crash() {
	f.t.Helper()
	const begun = "SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
	before := kit.One[time.Time](f.t, f.db, begun)
	f.db.SetMaxIdleConns(0) // those that are open break
	if _, err := f.db.ExecContext(f.t.Context(), `COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'`); err == nil {
		f.t.Fatal("the session that was killed goes on")
	}
	kit.Until(f.t, "the server answers again", func() bool { return f.db.PingContext(f.t.Context()) == nil })
	f.db.SetMaxIdleConns(10)
	if after := kit.One[time.Time](f.t, f.db, begun); !after.After(before) {
		f.t.Fatal("the server did not begin anew")
	}
}

// The database server crashes and comes back in the middle of limited queues, some times: the limits hold, and each run is executed to its
// end by the processes that are there.
func TestServerRestartsAmidLimitedQueues(t *testing.T) {
	t.Parallel()
	f, url := setupOwnServer(t)
	queues := []workflow.Queue{{Name: "few", MaxRunning: 3}, {Name: "tenants", MaxRunning: 6, MaxPerPartition: 2}}
	svc := f.service(f.db, nil)
	for _, queue := range queues {
		kit.Must(t, svc.SetQueue(t.Context(), queue))
	}
	crashes := sized(1, 3, 10)
	runs := 400 * (crashes + 1)
	f.start(svc, 0, runs, func(n int) (task, []workflow.StartOption) {
		options := []workflow.StartOption{workflow.WithQueue("few")}
		if n%2 == 0 {
			options = []workflow.StartOption{workflow.WithQueue("tenants"), workflow.WithPartition([]string{"a", "b", "c", "d"}[n/2%4])}
		}
		return task{N: n, Takes: 5 * time.Millisecond, Step: n%3 == 0}, options
	})
	var processes []*process
	for range 2 {
		processes = append(processes, f.spawn(job{Does: "chores", Driver: pgtest.PGX.Driver, URL: url}))
	}
	for range crashes {
		f.untilClaims("few", 50)
		f.untilClaims("tenants", 50)
		f.crash()
	}
	f.untilAllEnd()
	for _, p := range processes {
		p.Terminate()
	}
	f.checkClaims(queues...)
	f.checkChores(runs)
}
