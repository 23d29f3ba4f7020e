package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

func ExampleService_Stats() {
	svc, _, closeAll := newService()
	defer closeAll()
	greet := workflow.Define("greet", func(_ context.Context, name string) (string, error) {
		return "Hello, " + name + "!", nil
	})
	_, err := greet.Start(ctx, svc, "Zoë") // no worker yet: it waits
	must(err)
	_, err = greet.Start(ctx, svc, "José", workflow.WithDelay(time.Hour))
	must(err)

	stats, err := svc.Stats(ctx)
	must(err)
	fmt.Println(stats.Runs[workflow.RunPending], "pending,", stats.Runs[workflow.RunCompleted], "completed")
	fmt.Println(stats.Workers, "workers,", stats.InFlight, "runs in flight here")
	fmt.Println("the oldest has waited for less than a minute:", stats.Lag < time.Minute)
	// Output:
	// 2 pending, 0 completed
	// 0 workers, 0 runs in flight here
	// the oldest has waited for less than a minute: true
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := func() workflow.Stats {
		t.Helper()
		stats, err := b.svc.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stats
	}
	none := map[workflow.RunStatus]int64{
		"pending": 0, "running": 0, "suspended": 0, "completed": 0, "failed": 0, "cancelled": 0,
	}
	unsuspended := map[workflow.SuspendReason]int64{
		workflow.SuspendedForTime: 0, workflow.SuspendedForSignal: 0, workflow.SuspendedForChildren: 0, workflow.SuspendedByHand: 0, workflow.SuspendedBlocked: 0,
	}
	if diff := cmp.Diff(workflow.Stats{Runs: none, Suspended: unsuspended}, now()); diff != "" {
		t.Errorf("an empty schema (-want +got):\n%s", diff)
	}

	// One run of each status. A dead worker does not count; what is due in an hour, or never claimed, does not lag.
	exec := func(statement string) {
		t.Helper()
		if _, err := b.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	const hour = 3_600_000
	exec(fmt.Sprintf(`
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, suspended_for, run_at)
		SELECT status, 'unknown', status, '1', 1, 1, CASE WHEN status = 'suspended' THEN 'by_hand' END,
		       CASE WHEN status = 'pending' THEN extract(epoch FROM now()) * 1000 + %d END
		FROM unnest('{pending,running,suspended,completed,failed,cancelled}'::text[]) AS status`, hour))
	exec(`INSERT INTO workflows.workflow_workers (id, expires_at) VALUES ('dead', 1)`)
	want := workflow.Stats{Runs: map[workflow.RunStatus]int64{
		"pending": 1, "running": 1, "suspended": 1, "completed": 1, "failed": 1, "cancelled": 1,
	}, Suspended: map[workflow.SuspendReason]int64{
		workflow.SuspendedForTime: 0, workflow.SuspendedForSignal: 0, workflow.SuspendedForChildren: 0, workflow.SuspendedByHand: 1, workflow.SuspendedBlocked: 0,
	}}
	if diff := cmp.Diff(want, now()); diff != "" {
		t.Errorf("one of each (-want +got):\n%s", diff)
	}

	// A worker that executes a run; another one, whose workflow it does not know, has been due for a minute.
	entered, leave := make(chan struct{}), make(chan struct{})
	hold := workflow.Define("hold", func(context.Context, int) (int, error) {
		close(entered)
		<-leave
		return 0, nil
	})
	b.svc.Register(hold)
	kit.Work(t, b.svc)
	handle, err := hold.Start(t.Context(), b.svc, 1)
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	exec(fmt.Sprintf(`UPDATE workflows.workflow_runs SET run_at = run_at - %d WHERE id = 'pending'`, hour+60_000))
	want.Runs[workflow.RunRunning]++
	want.Workers, want.InFlight, want.Lag = 1, 1, time.Minute
	got := now()
	if got.Lag < want.Lag || got.Lag > 2*want.Lag {
		t.Errorf("lag %s, want a little over %s", got.Lag, want.Lag)
	}
	got.Lag = want.Lag
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("at work (-want +got):\n%s", diff)
	}
	close(leave)
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Error(err)
	}
	if err := b.svc.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.svc.Stats(t.Context()); !errors.Is(err, workflow.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
