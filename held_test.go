package workflow_test

import (
	"context"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// While code of the application runs nothing is held for it: no transaction, no lock and no connection. So a pool of three serves
// twenty steps that are all in flight.
func TestNothingIsHeldWhileUserCodeRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	db := b.pg.Open(t, pgtest.PGX)
	db.SetMaxOpenConns(3)
	svc := b.service(func(c *workflow.Config) { c.DB = db })
	const runs = 20
	var inside sync.WaitGroup
	inside.Add(runs)
	release := make(chan struct{})
	w := workflow.Define("holds", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) {
			inside.Done()
			<-release
			return n, nil
		})
	})
	svc.Register(w)
	kit.Work(t, svc)
	var handles []*workflow.Handle[int]
	for n := range runs {
		handle, err := w.Start(t.Context(), svc, n)
		kit.Must(t, err)
		handles = append(handles, handle)
	}
	inside.Wait()

	// Polls and heartbeats come and go; what is held for the steps would stay.
	kit.Until(t, "nothing is held but the heartbeat's connection", func() bool {
		return db.Stats().InUse <= 1 && kit.One[int](t, b.db, `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`) == 0 &&
			kit.One[int](t, b.db, `
			SELECT count(*) FROM pg_locks
			WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()`) == 0
	})
	close(release)
	for n, handle := range handles {
		if got, err := handle.Result(kit.Context(t)); err != nil || got != n {
			t.Errorf("run %d: %d, %v", n, got, err)
		}
	}
}
