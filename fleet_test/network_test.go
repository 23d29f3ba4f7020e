package fleet_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// stubborn is a workflow whose only step ends with its context and tells when and why, or, when calm, at once.
func stubborn(inside chan<- struct{}, ended chan<- error) *workflow.Workflow[int, int] {
	return workflow.Define("stubborn", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "hold", func(ctx context.Context) (int, error) {
			inside <- struct{}{}
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return n, nil
		})
	})
}

func calm() *workflow.Workflow[int, int] {
	return workflow.Define("stubborn", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "hold", func(context.Context) (int, error) { return n, nil })
	})
}

// The network of a worker goes dead: no call to the database returns. Its runs are stopped by the end of its lease all
// the same, they go on elsewhere, and Work returns in time when its context ends.
func TestDeadNetworkStopsRuns(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PQBinary, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			if access.Name != pgtest.PQ.Name && !pgtest.Full() {
				t.Skip("in full mode")
			}
			f := setup(t)
			network, url := kit.NewProxy(t, f.pg.AccessURL(t, access))
			db, err := sql.Open(access.Driver, url)
			kit.Must(t, err)
			t.Cleanup(func() { kit.Must(t, db.Close()) })
			t.Cleanup(network.Close)
			const drain, timeout = 200 * time.Millisecond, 500 * time.Millisecond
			cut := f.service(db, func(c *workflow.Config) { c.Drain, c.Timeout = drain, timeout })
			inside, ended := make(chan struct{}, 1), make(chan error, 1)
			cut.Register(stubborn(inside, ended))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- cut.Work(ctx) }()
			handle, err := calm().Start(t.Context(), f.service(f.db, nil), 7)
			kit.Must(t, err)
			kit.Receive(t, "the run is inside its step", inside)

			network.Silence()
			asked := time.Now()
			cause := kit.Receive(t, "the step's context ends", ended)
			if took := time.Since(asked); took > lease+kit.Patience/10 || !errors.Is(cause, workflow.ErrRunLost) {
				t.Errorf("the step's context ended after %s with %v; want ErrRunLost at the end of the lease of %s", took, cause, lease)
			}
			other := f.service(f.db, nil)
			other.Register(calm())
			kit.Work(t, other)
			if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
				t.Errorf("result %d, %v", got, err)
			}
			cancel()
			asked = time.Now()
			select {
			case err := <-done:
				t.Logf("Work returned after %s: %v", time.Since(asked), err)
			case <-time.After(drain + 4*(timeout+time.Second) + lease):
				t.Errorf("Work did not return within %s of the end of its context", time.Since(asked))
			}
			network.Close() // what was left behind ends
		})
	}
}

// Only the connections that a worker has at a moment go dead, as when a firewall forgets them. New ones work: so the
// worker goes on, with its old lease or a new one.
func TestDeadConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	f := setup(t)
	network, url := kit.NewProxy(t, f.pg.AccessURL(t, pgtest.PQ))
	db, err := sql.Open(pgtest.PQ.Driver, url)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	t.Cleanup(network.Close)
	svc := f.service(db, func(c *workflow.Config) { c.Drain, c.Timeout = 200*time.Millisecond, 500*time.Millisecond })
	next := workflow.Define("next", func(_ context.Context, n int) (int, error) { return n, nil })
	svc.Register(next)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- svc.Work(ctx) }()
	starter := f.service(f.db, nil)
	for n := range 2 {
		handle, err := next.Start(t.Context(), starter, n)
		kit.Must(t, err)
		if got, err := handle.Result(kit.Within(t, 15*lease)); err != nil || got != n {
			t.Fatalf("after %d times: %d, %v", n, got, err)
		}
		network.SilenceOld()
	}
	kit.Until(t, "the worker has a lease again", func() bool {
		return f.count("SELECT count(*) FROM workflows.workflow_workers WHERE expires_at > extract(epoch FROM clock_timestamp()) * 1000") == 1
	})
	cancel()
	_ = kit.Receive(t, "Work returns", done) // perhaps an error: another dead connection
	network.Close()
}
