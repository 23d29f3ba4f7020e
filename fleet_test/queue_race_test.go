package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Runs of a limited queue are cancelled and resumed from two sides, at moments when they wait, are claimed, sleep and end. Their places are
// free again at once, none is lost, and in the end each run completes.
func TestRacesInALimitedQueue(t *testing.T) {
	t.Parallel()
	queue := workflow.Queue{Name: "raced", MaxRunning: 3, MaxPerPartition: 2}
	partitions := []string{"a", "b", "c"}
	f, svc := setupQueues(t, queue)
	other := f.service(f.db, nil)
	pack := f.release(2, job{Does: "chores"}, 0)
	stop := f.sampling(partitions, queue)
	runs := sized(60, 200, 3_000)
	f.start(svc, 0, runs, func(n int) (task, []workflow.StartOption) {
		return task{N: n, Takes: rand.N(10 * time.Millisecond), Step: n%2 == 0, Nap: n%5 == 0},
			[]workflow.StartOption{workflow.WithQueue("raced"), workflow.WithPartition(partitions[n%3])}
	})
	sides := []*workflow.Service{svc, other}
	cancels := f.raceAll(runs, func(n int) (cancels int) {
		id := runID(n)
		for range 3 {
			kit.Pause(t.Context(), rand.N(100*time.Millisecond))
			if !f.hit(func(s *workflow.Service) error { return s.Cancel(kit.Context(t), id) }, sides, workflow.RunCompleted, 2) {
				break
			}
			cancels++
			f.hit(func(s *workflow.Service) error { return s.Resume(kit.Context(t), id) }, sides, "", 1)
		}
		return cancels
	})
	f.untilAllEnd()
	pack.stop()
	stop()
	if cancels < runs/4 {
		t.Errorf("only %d cancels of %d runs: the test shows little", cancels, runs)
	}
	f.checkClaims(queue)
	f.checkChores(runs)
}

// A worker with few slots has much to do without a queue, and in several queues, of which one is much longer than the others: all get on.
func TestQueuesAndRunsWithoutOneShareAWorker(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 4} {
		t.Run(fmt.Sprint("slots: ", slots), func(t *testing.T) {
			t.Parallel()
			queues := []workflow.Queue{{Name: "long"}, {Name: "short"}, {Name: "limited", MaxRunning: 2}}
			f, svc := setupQueues(t, queues...)
			const each = 100
			places := []string{"", "", "", "", "long", "long", "long", "long", "long", "long", "short", "limited"}
			f.start(svc, 0, each*len(places), func(n int) (task, []workflow.StartOption) {
				do, place := task{N: n, Takes: time.Millisecond}, places[n/each]
				if place == "" {
					return do, nil
				}
				return do, []workflow.StartOption{workflow.WithQueue(place)}
			})
			worker := f.service(f.db, func(c *workflow.Config) { c.Concurrency = slots })
			worker.Register(chore())
			kit.Work(t, worker)
			f.untilAllEnd()
			// When the first of the four has begun its last run, and when the second has, each other has begun some of its own.
			begun := f.lines(`
				WITH begun AS (
				    SELECT history.n, coalesce(run.queue, 'none') AS place,
				           row_number() OVER (PARTITION BY run.queue ORDER BY history.n) AS turn
				    FROM history JOIN workflows.workflow_runs AS run ON run.id = history.run_id
				    WHERE history.step IS NULL AND history.is_now = 'running'
				)
				SELECT format('%s: %s', place, max(turn)) FROM begun
				WHERE n <= (SELECT min(n) FROM begun WHERE turn = $1)
				GROUP BY place ORDER BY 1`, each)
			t.Logf("when one has begun %d: %v", each, begun)
			if len(begun) < 4 {
				t.Errorf("when one has begun %d runs, those of others have not begun: %v", each, begun)
			}
			f.checkChores(each * len(places))
		})
	}
}

// A run whose deadline passes while its queue is paused, or full, fails then, and its caller is told.
func TestDeadlinePassesInAQueue(t *testing.T) {
	t.Parallel()
	f, svc := setupQueues(t, workflow.Queue{Name: "paused"}, workflow.Queue{Name: "full", MaxRunning: 1})
	kit.Must(t, svc.PauseQueue(t.Context(), "paused"))
	caller := workflow.Define("caller", func(ctx context.Context, queue string) (string, error) {
		_, err := workflow.Call(ctx, "late", chore(), task{}, workflow.WithQueue(queue), workflow.WithDeadline(200*time.Millisecond))
		if errors.Is(err, workflow.CodeDeadline) {
			return "told", nil
		}
		return "", err
	})
	worker := f.service(f.db, nil)
	worker.Register(chore(), caller)
	kit.Work(t, worker)
	long, err := chore().Start(t.Context(), svc, task{Takes: time.Hour}, workflow.WithQueue("full"))
	kit.Must(t, err)
	kit.Until(t, "the queue is full", func() bool { return f.claims() == 1 })
	for _, queue := range []string{"paused", "full"} {
		called, err := caller.Start(t.Context(), svc, queue)
		kit.Must(t, err)
		if got, err := called.Result(kit.Context(t)); err != nil || got != "told" {
			t.Errorf("in queue %q: %q, %v", queue, got, err)
		}
	}
	if n := f.claims(); n != 1 {
		t.Errorf("%d runs began", n)
	}
	kit.Must(t, long.Cancel(t.Context()))
}
