package workflow_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Any process can tell who works, on what, and who has died with what nobody has taken over yet.
func TestListWorkers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if workers, err := b.svc.ListWorkers(t.Context()); err != nil || len(workers) != 0 {
		t.Fatalf("before anybody works: %v, %v", workers, err)
	}
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	w := workflow.Define("holds", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "hold", func(context.Context) (int, error) { <-release; return 1, nil })
	})
	busy, err := workflow.New(workflow.Config{DB: b.db, Version: "7", Serve: []string{workflow.NoQueue, "images"}, Lease: kit.Patience})
	kit.Must(t, err)
	busy.Register(w)
	kit.Work(t, busy)
	handle, err := w.Start(t.Context(), busy, 1)
	kit.Must(t, err)
	var run workflow.Run
	kit.Until(t, "it is executed", func() bool { run = b.get(handle.RunID()); return run.Owner != "" })
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_workers (id, expires_at, started_at, workflows) VALUES ('dead', 5, 1, '{other}')`)

	host, err := os.Hostname()
	kit.Must(t, err)
	got, err := b.svc.ListWorkers(t.Context())
	kit.Must(t, err)
	want := []workflow.Worker{
		{
			ID: run.Owner, Host: host, PID: os.Getpid(), Version: "7", Workflows: []string{"holds"}, Queues: []string{"", "images"},
			Alive: true, Executing: 1,
		},
		{ID: "dead", Workflows: []string{"other"}, StartedAt: time.UnixMilli(1), LeaseUntil: time.UnixMilli(5)},
	}
	recent := cmpopts.IgnoreFields(workflow.Worker{}, "StartedAt", "LeaseUntil")
	if diff := cmp.Diff(want, got, recent); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w := got[0]; !w.LeaseUntil.After(w.StartedAt) || !got[1].LeaseUntil.Equal(time.UnixMilli(5)) {
		t.Errorf("times: %+v", got)
	}
	free()
}
