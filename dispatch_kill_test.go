package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// consumerChild is another process: it consumes the application's queue until it is killed, inside a run's second step.
func consumerChild(url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	queue := &tableQueue{db, func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	svc, err := workflow.New(workflow.Config{DB: db, Lease: testLease, Dispatcher: queue})
	if err != nil {
		return err
	}
	svc.Register(twoSteps(db, func(ctx context.Context) {
		fmt.Println("inside")
		<-ctx.Done()
	}, untold))
	stop, err := queue.consume(svc.Execute)
	if err != nil {
		return err
	}
	defer stop()
	return svc.Work(context.Background())
}

// The runs of a consumer that is killed are brought to another one when its lease has ended: no step that succeeded is executed again.
func TestConsumerIsKilled(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	queue := newTableQueue(t, b.db)
	b.svc = b.service(func(c *workflow.Config) { c.Dispatcher = queue })
	w := twoSteps(b.db, noHold, untold)
	b.svc.Register(w)
	other := kit.Spawn(t, "consumer "+b.pg.URL())
	handle, err := w.Start(t.Context(), b.svc, "in")
	kit.Must(t, err)
	other.Says("inside")
	other.Kill()

	kit.Work(t, b.svc)
	stop, err := queue.consume(func(ctx context.Context, id string) error {
		err := b.svc.Execute(ctx, id)
		if err != nil && !errors.Is(err, workflow.ErrNotWorking) {
			t.Errorf("execute: %v", err)
		}
		return err
	})
	kit.Must(t, err)
	t.Cleanup(stop)
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Error(err)
	}
	effects := b.effects(handle.RunID())
	if len(effects["first"]) != 1 || len(effects["second"]) != 1 || effects["first"][0] == effects["second"][0] {
		t.Errorf("effects %v: want each step once, in a process of its own", effects)
	}
}
