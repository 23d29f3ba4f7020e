package workflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run that starts in a process whose lease has ended, without it knowing yet, waits to be claimed. What the process takes for
// its own is refused, under whatever epoch another worker has the run then.
func TestStartAfterTheLeaseEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := func(c *workflow.Config) { c.Lease = 5 * time.Minute } // no heartbeat tells before the test ends
	inside, claimed, lost := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	zombie := workflow.Define("w", func(ctx context.Context, _ int) (string, error) {
		_, err := workflow.Do(ctx, "one", func(context.Context) (string, error) {
			close(inside)
			kit.Receive(t, "another worker has the run", claimed)
			return "zombie", nil
		})
		lost <- err
		return "zombie", err
	})
	heir := workflow.Define("w", func(ctx context.Context, _ int) (string, error) {
		return workflow.Do(ctx, "one", func(context.Context) (string, error) {
			close(claimed)
			err := kit.Receive(t, "the zombie's step has returned", lost)
			kit.WantIs(t, err, workflow.ErrRunLost)
			return "heir", nil
		})
	})
	first, second := b.service(long), b.service(long)
	warmUp := workflow.Define("warm up", func(context.Context, int) (int, error) { return 0, nil })
	first.Register(zombie, warmUp)
	second.Register(heir)
	kit.Work(t, first)
	warm, err := warmUp.Start(t.Context(), first, 0)
	kit.Must(t, err)
	_, err = warm.Result(kit.Context(t)) // now the first worker knows that nothing waits, and starts runs itself
	kit.Must(t, err)
	kit.Exec(t, b.db, "UPDATE workflows.workflow_workers SET expires_at = 0")

	handle, err := zombie.Start(t.Context(), first, 0)
	kit.Must(t, err)
	kit.Receive(t, "the run is executed without a lease", inside)
	kit.Work(t, second)
	got, err := heir.Handle(second, handle.RunID()).Result(kit.Context(t))
	if err != nil || got != "heir" {
		t.Errorf("result %q, %v; want that of the worker that has the lease", got, err)
	}
}
