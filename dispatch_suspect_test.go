package workflow_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Of runs that workers may have died of, one is executed at a time; one that too many have died of has failed.
func TestExecuteSuspects(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue)
	inside, finish := make(chan struct{}, 1), make(chan struct{})
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) {
			inside <- struct{}{}
			<-finish
			return 1, nil
		})
	})
	b.svc.Register(w)
	for id, deaths := range map[string]int{"first": 2, "second": 3, "doomed": 10} {
		_, err := w.Start(t.Context(), b.svc, 1, workflow.WithRunID(id))
		kit.Must(t, err)
		kit.Exec(t, b.db, "UPDATE workflows.workflow_runs SET take_overs = $2 WHERE id = $1", id, deaths)
	}
	kit.Work(t, b.svc)
	executed := kit.Go(t, func() error { return b.executeWorking(kit.Context(t), "first") })
	kit.Receive(t, "the first run", inside)
	kit.WantIs(t, b.svc.Execute(kit.Context(t), "second"), workflow.ErrSuspect)
	close(finish)
	kit.WantIs(t, kit.Receive(t, "the end of the first run", executed), nil)
	kit.WantIs(t, b.svc.Execute(kit.Context(t), "second"), nil)
	if run := b.get("second"); run.Status != workflow.RunCompleted {
		t.Errorf("the second run is %s", run.Status)
	}
	kit.WantIs(t, b.svc.Execute(kit.Context(t), "doomed"), nil)
	if run := b.get("doomed"); run.Status != workflow.RunFailed || !errors.Is(run.Err, workflow.CodeCrashLoop) {
		t.Errorf("the doomed run is %s (%v)", run.Status, run.Err)
	}
}

// A run whose record its code does not follow is blocked, and its message is done.
func TestExecuteABlockedRun(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue)
	step := "one"
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
		if _, err := workflow.Do(ctx, step, value(1)); err != nil {
			return 0, err
		}
		_, err := news.Wait(ctx, 0)
		return 1, err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	id := handle.RunID()
	kit.WantIs(t, b.executeWorking(kit.Context(t), id), nil)
	b.waiting(id, "signal:news")
	step = "another"
	kit.Must(t, news.Send(t.Context(), b.svc, id, "go on"))
	kit.WantIs(t, b.svc.Execute(kit.Context(t), id), nil)
	if run := b.get(id); run.SuspendedFor != workflow.SuspendedBlocked {
		t.Errorf("the run is %s for %s", run.Status, run.SuspendedFor)
	}
}
