package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// Workers are killed while they claim: a sampler never sees more runs than the queue, a partition or a worker may have, and all are
// executed in the end.
func TestLimitsUnderKills(t *testing.T) {
	t.Parallel()
	ways := crossed()
	if !pgtest.Full() {
		ways = ways[1:2]
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			const workers, kills, runs, partitions = 4, 6, 300, 7
			limits := workflow.Queue{Name: "q", MaxRunning: 8, MaxPerWorker: 4, MaxPerPartition: 3}
			o := newHall(t, way, limits)
			w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
				return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
					kit.Pause(ctx, time.Duration(n%5)*time.Millisecond)
					return n, nil
				})
			})
			hire := func(n int) *process {
				p, svc := o.worker(t, fmt.Sprint("worker ", n), func(c *workflow.Config) { c.Lease, c.Logger = time.Second, slog.New(slog.DiscardHandler) }, w)
				ctx, stop := context.WithCancel(context.Background())
				kit.Go(t, func() error { return svc.Work(ctx) }) // one that was killed cannot sign off
				t.Cleanup(stop)
				return p
			}
			for n := range runs { // before anyone works, or a busy machine may be done with them before the sampler begins
				start(t, o.svc, w, n, workflow.WithQueue("q"), workflow.WithPartition(fmt.Sprint(n%partitions)))
			}
			side := o.pg.Open(t, pgtest.PQ)
			kit.Exec(t, side, "CREATE VIEW busy AS SELECT owner, partition_key FROM workflows.workflow_runs WHERE status = 'running'")
			var most [3]atomic.Int64
			watch, watched := context.WithCancel(t.Context())
			watcher := kit.Go(t, func() error {
				for watch.Err() == nil {
					var now [3]int64
					err := side.QueryRow(`
						SELECT count(*),
						       coalesce((SELECT max(n) FROM (SELECT count(*) AS n FROM busy GROUP BY owner) AS worker), 0),
						       coalesce((SELECT max(n) FROM (SELECT count(*) AS n FROM busy GROUP BY partition_key) AS partition), 0)
						FROM busy`).Scan(&now[0], &now[1], &now[2])
					if err != nil {
						return err
					}
					for i := range now {
						most[i].Store(max(most[i].Load(), now[i]))
					}
				}
				return nil
			})
			var staff []*process
			for n := range workers {
				staff = append(staff, hire(n))
			}
			for n := range kills {
				kit.Until(t, "some are executed", func() bool {
					return kit.One[int](t, side, "SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed'") > n*runs/2/kills
				})
				dying := staff[n%workers]
				dying.mu.Lock()
				dying.kill()
				dying.mu.Unlock()
				staff[n%workers] = hire(workers + n)
			}
			kit.Until(t, "all are executed", func() bool {
				return kit.One[int](t, side, "SELECT count(*) FROM workflows.workflow_runs WHERE status <> 'completed'") == 0
			})
			watched()
			kit.Must(t, <-watcher)
			for i, limit := range []int{limits.MaxRunning, limits.MaxPerWorker, limits.MaxPerPartition} {
				if n := most[i].Load(); n > int64(limit) || n == 0 {
					t.Errorf("%d at once, want at most %d", n, limit)
				}
			}
			t.Logf("at most %d at once, %d on a worker, %d of a partition", most[0].Load(), most[1].Load(), most[2].Load())
		})
	}
}
