package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A commission is what a boss has to see to.
type commission struct {
	N, Chores int
	Depth     int // how many bosses stand below this one
	Partition string
}

const office = "office" // the queue of bosses and of those that they call

// boss has chores done, one alone and then many at once, and calls the boss below. All are in the same queue. It returns how many chores
// were done.
func boss() *workflow.Workflow[commission, int] {
	return workflow.Define("boss", func(ctx context.Context, in commission) (int, error) {
		place := []workflow.CallOption{workflow.WithQueue(office)}
		if in.Partition != "" {
			place = append(place, workflow.WithPartition(in.Partition))
		}
		takes := 2 * time.Millisecond
		if _, err := workflow.Call(ctx, "alone", chore(), task{Takes: takes}, place...); err != nil {
			return 0, err
		}
		results, err := workflow.CallAll(ctx, "many", chore(), make([]task, in.Chores), place...)
		if err != nil {
			return 0, err
		}
		below := 0
		if in.Depth > 0 {
			next := commission{N: in.N, Chores: in.Chores, Depth: in.Depth - 1, Partition: in.Partition}
			if below, err = workflow.Call(ctx, "below", boss(), next, place...); err != nil {
				return 0, err
			}
		}
		for _, result := range results {
			err = errors.Join(err, result.Err)
		}
		return 1 + len(results) + below, err
	})
}

// Parents and the children that they wait for are in one queue, whose limit leaves no room for both, and are killed: they do not lock each
// other out, and the limit holds.
func TestFamiliesInOneLimitedQueue(t *testing.T) {
	t.Parallel()
	families, chores := sized(4, 10, 100), sized(3, 5, 20)
	for name, limits := range map[string]workflow.Queue{
		"limit 1":             {MaxRunning: 1},
		"limit 3":             {MaxRunning: 3},
		"limit 1 a worker":    {MaxPerWorker: 1},
		"limit 1 a partition": {MaxPerPartition: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits.Name = office
			f, svc := setupQueues(t, limits)
			partition := func(n int) string {
				if limits.MaxPerPartition == 0 {
					return ""
				}
				return fmt.Sprint("p", n%2)
			}
			stop := f.sampling([]string{"p0", "p1"}, limits)
			pack := f.release(2, job{Does: "chores"}, time.Second)
			var handles []*workflow.Handle[int]
			for n := range families {
				options := []workflow.StartOption{workflow.WithQueue(office)}
				if partition(n) != "" {
					options = append(options, workflow.WithPartition(partition(n)))
				}
				handle, err := boss().Start(t.Context(), svc, commission{N: n, Chores: chores, Depth: 1, Partition: partition(n)}, options...)
				kit.Must(t, err)
				handles = append(handles, handle)
			}
			for n, handle := range handles {
				if got, err := handle.Result(kit.Context(t)); err != nil || got != 2*(1+chores) {
					t.Errorf("family %d: %d, %v; want %d", n, got, err, 2*(1+chores))
				}
			}
			t.Logf("%d families of %d, %d processes killed", families, 2*(2+chores), pack.stop())
			stop()
			f.checkClaims(limits)
			if n := f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status <> 'completed' OR queue <> $1", office); n > 0 {
				t.Errorf("%d runs are not completed in the queue", n)
			}
			f.verify()
		})
	}
}
