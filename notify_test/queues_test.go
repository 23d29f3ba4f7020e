package notify_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// What is put into a queue in one process is executed in another, as soon as it is there and the queue is not paused.
func TestQueueAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		d.start(t, database).works(double)
		asks := d.start(t, database)
		kit.Must(t, asks.SetQueue(t.Context(), workflow.Queue{Name: "q"}))
		queued := func(ctx context.Context) *workflow.Handle[int] {
			handle, err := double.Start(ctx, asks, 21, workflow.WithQueue("q"))
			kit.Must(t, err)
			return handle
		}
		result := func(ctx context.Context, handle *workflow.Handle[int]) {
			got, err := handle.Result(ctx)
			if err != nil || got != 42 {
				t.Fatalf("%d, %v", got, err)
			}
		}
		ctx := kit.Context(t)
		result(ctx, queued(ctx))
		asks.hears(1)
		ctx = kit.Within(t, 15*time.Second)
		for range 20 {
			result(ctx, queued(ctx))
		}
		ctx = kit.Context(t)
		kit.Must(t, asks.PauseQueue(ctx, "q"))
		waits := queued(ctx)
		kit.Must(t, asks.ResumeQueue(ctx, "q"))
		result(ctx, waits)
	})
}

// The place that a run leaves in a full queue is for all processes.
func TestRoomInAQueueAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		inside, goOn := make(chan struct{}), make(chan struct{})
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
				inside <- struct{}{}
				<-goOn
				return 1, nil
			})
		})
		one := d.start(t, database)
		kit.Must(t, one.SetQueue(t.Context(), workflow.Queue{Name: "q", MaxRunning: 1}))
		one.works(w)
		other := d.start(t, database).works(double)
		for range 5 { // if the other process asks late it may find the place by itself, but hardly each time
			_, err := w.Start(t.Context(), one, 0, workflow.WithQueue("q"))
			kit.Must(t, err)
			kit.Receive(t, "the queue is full", inside)
			asked := other.count("claim_queue")
			waits, err := double.Start(t.Context(), one, 21, workflow.WithQueue("q"))
			kit.Must(t, err)
			kit.Until(t, "the other process has asked in vain", func() bool {
				return other.count("claim_queue") > asked && other.idle()
			})
			goOn <- struct{}{}
			if got, err := waits.Result(kit.Context(t)); err != nil || got != 42 {
				t.Fatalf("%d, %v", got, err)
			}
		}
	})
}
