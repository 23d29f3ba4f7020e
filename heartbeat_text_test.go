package workflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A worker keeps its lease, and all its runs, whatever the step is called that has been in flight for long: heartbeats show it,
// and the database's encoding may lack its name.
func TestHeartbeatWithANameThatCannotBeStored(t *testing.T) {
	t.Parallel()
	b := encoded(t, pgtest.PQ, "WIN1252")
	svc := b.service(func(c *workflow.Config) { c.Lease = 2 * time.Second })
	innocent := workflow.Define("innocent", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "long", func(ctx context.Context) (int, error) {
			kit.Pause(ctx, 5*time.Second)
			return 1, ctx.Err()
		})
	})
	rogue := workflow.Define("rogue", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, beyond, func(ctx context.Context) (int, error) {
			kit.Pause(ctx, 5*time.Second)
			return 1, ctx.Err()
		})
	})
	svc.Register(innocent, rogue)
	kit.Work(t, svc)
	_, err := rogue.Start(t.Context(), svc, 0)
	kit.Must(t, err)
	handle, err := innocent.Start(t.Context(), svc, 0)
	kit.Must(t, err)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 1 {
		t.Errorf("result %d, %v; want 1", got, err)
	}
	if n := kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_workers"); n != 1 {
		t.Errorf("the worker had %d leases, want one", n)
	}
}
