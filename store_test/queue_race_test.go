package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/store"
)

// claimers is how many workers race.
const claimers = 12

// A queueRace is many workers at one queue. Some die, with the runs that they have, and others take these over.
type queueRace struct {
	b      *bundle
	limits store.Queue
	runs   int
	hold   time.Duration  // for how long at most a run is executed
	deaths float64        // how often a worker dies after a claim
	st     []*store.Store // of several pools, in both ways to send statements
	ended  atomic.Int64   // runs
	missed atomic.Int64   // claims that came while another one was under way
	full   atomic.Int64   // claims that found no room
	killed atomic.Int64   // workers
	ctx    context.Context
	fail   func() // ends the race
}

func newQueueRace(t *testing.T, limits store.Queue, smoke int) *queueRace {
	t.Helper()
	r := &queueRace{b: readCommitted(t, pgtest.PQ), limits: limits, runs: smoke}
	switch {
	case pgtest.Soak():
		r.runs *= 100
	case pgtest.Full():
		r.runs *= 4
	}
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		for _, statements := range []store.Statements{store.Single, store.InTx} {
			db := r.b.Open(t, access)
			db.SetMaxOpenConns(4)
			r.st = append(r.st, store.New(db, store.Options{
				Schema: "workflows", Statements: statements, Timeout: kit.Patience, LockTimeout: kit.Patience, Lease: lease,
			}))
		}
	}
	r.limits.Name = "q"
	r.ctx, r.fail = context.WithCancel(t.Context())
	t.Cleanup(r.fail)
	kit.Must(t, r.st[0].SetQueue(t.Context(), r.limits))
	// Of five partitions the first has as many runs as all others.
	kit.Exec(t, r.b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT 'run' || n, 'w', 'pending', '1', 1, 1, n, 'q', n % 5, CASE WHEN n % 2 = 0 THEN '' ELSE 'p' || n % 4 || n % 3 END
		FROM generate_series(1, $1::int) AS n`, r.runs)
	return r
}

// race has all workers claim until all runs have ended.
func (r *queueRace) race(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithTimeout(r.ctx, 20*kit.Patience)
	defer stop()
	for i, err := range kit.Together(claimers, func(i int) error {
		err := r.work(ctx, i)
		if err != nil {
			r.fail()
		}
		return err
	}) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("worker %d: %v", i, err)
		}
	}
}

// work is one worker after the other.
func (r *queueRace) work(ctx context.Context, i int) error {
	st := r.st[i%len(r.st)]
	for life := 0; ; life++ {
		id := fmt.Sprintf("w%d.%d", i, life)
		if err := st.RegisterWorker(ctx, store.Worker{ID: id, Workflows: []string{"w"}}, lease); err != nil {
			return err
		}
		over, err := r.live(ctx, st, id)
		if err != nil || over {
			return err
		}
		r.killed.Add(1)
		if _, err := r.b.side.ExecContext(ctx, `UPDATE workflows.workflow_workers SET expires_at = 1 WHERE id = $1`, id); err != nil {
			return err
		}
		if _, err := st.TakeOver(ctx, "nobody"); err != nil {
			return err
		}
	}
}

// live is the life of one worker: it ends, with what it has, when the worker dies or all is over.
func (r *queueRace) live(ctx context.Context, st *store.Store, id string) (over bool, err error) {
	request := store.QueueRequest{Worker: id, Queue: "q", Workflows: []string{"other", "w"}, Limit: 1 + rand.N(8), Suspects: true, Single: true}
	for r.ended.Load() < int64(r.runs) {
		claimed, err := st.ClaimQueue(ctx, request)
		if err != nil {
			return false, err
		}
		request.After, request.Single = claimed.After, claimed.Single
		switch {
		case rand.Float64() < r.deaths:
			return false, nil
		case len(claimed.Runs) > 0:
			if err := r.execute(ctx, st, claimed.Runs); err != nil {
				return false, err
			}
		default:
			if claimed.Missed {
				r.missed.Add(1)
			}
			if claimed.Full {
				r.full.Add(1)
			}
			kit.Pause(ctx, max(time.Millisecond+rand.N(2*time.Millisecond), min(claimed.Wait, 10*time.Millisecond)))
		}
		if ctx.Err() != nil {
			return false, fmt.Errorf("%d of %d runs have ended: %w", r.ended.Load(), r.runs, ctx.Err())
		}
	}
	return true, nil
}

func (r *queueRace) execute(ctx context.Context, st *store.Store, runs []store.ClaimedRun) error {
	kit.Pause(ctx, rand.N(r.hold+1))
	for _, run := range runs {
		end := &store.End{Owned: run.Owned, Status: store.RunCompleted, Output: json.RawMessage("1")}
		outcomes, err := st.Write(ctx, []store.Write{end})
		for err == nil && outcomes[0] == store.Locked { // as the engine does
			outcomes, err = st.Write(ctx, []store.Write{end})
		}
		if err != nil {
			return err
		}
		if outcomes[0] != store.Written {
			return fmt.Errorf("end %s: %v", run.RunID, outcomes)
		}
		r.ended.Add(1)
	}
	return nil
}

// sample reads the database again and again until stop is called, which returns how often.
func (r *queueRace) sample(t *testing.T) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	samples := 0
	done := kit.Go(t, func() (err error) {
		defer func() {
			if err != nil {
				r.fail()
			}
		}()
		var moved time.Time
		ended := -1
		for ; ; samples++ {
			var running, worker, partition, waiting, over int
			err := r.b.side.QueryRowContext(ctx, `
				WITH busy AS MATERIALIZED (
				    SELECT owner, partition_key
				    FROM workflows.workflow_runs
				    WHERE queue = 'q' AND status = 'running'
				)
				SELECT (SELECT count(*) FROM busy),
				       (SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM busy GROUP BY owner) AS worker),
				       (SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM busy GROUP BY partition_key) AS partition),
				       (SELECT count(*) FROM workflows.workflow_runs WHERE queue = 'q' AND status = 'pending'),
				       (SELECT count(*) FROM workflows.workflow_runs WHERE queue = 'q' AND status = 'completed')`).
				Scan(&running, &worker, &partition, &waiting, &over)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			for what, n := range map[string][2]int{
				"in the fleet": {running, r.limits.MaxRunning}, "on a worker": {worker, r.limits.MaxPerWorker},
				"of a partition": {partition, r.limits.MaxPerPartition},
			} {
				if n[1] > 0 && n[0] > n[1] {
					return fmt.Errorf("%d runs are running %s, and %d may", n[0], what, n[1])
				}
			}
			if over != ended || waiting == 0 {
				ended, moved = over, time.Now()
			}
			if time.Since(moved) > kit.Patience/2 {
				return fmt.Errorf("nothing ends: %d running, %d waiting, %d ended", running, waiting, over)
			}
		}
	})
	return func() int {
		cancel()
		if err := kit.Receive(t, "the end of the samples", done); err != nil && !errors.Is(err, sql.ErrConnDone) {
			t.Error(err)
		}
		return samples
	}
}

// Twelve workers, some of which die, never run more than a limit allows, and are never stuck below it.
func TestQueueLimitsAmongMany(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]store.Queue{
		"in the fleet": {MaxRunning: 7}, "on a worker": {MaxPerWorker: 2}, "of a partition": {MaxPerPartition: 2},
		"all": {MaxRunning: 9, MaxPerWorker: 3, MaxPerPartition: 4},
	} {
		for _, partitions := range []string{"partitions", "none"} {
			t.Run(name+", "+partitions, func(t *testing.T) {
				t.Parallel()
				r := newQueueRace(t, limits, 125)
				r.hold, r.deaths = 2*time.Millisecond, 0.01
				if partitions == "none" {
					kit.Exec(t, r.b.side, `UPDATE workflows.workflow_runs SET partition_key = ''`)
				}
				stop := r.sample(t)
				r.race(t)
				t.Logf("%d runs, %d samples; %d claims came between, %d found no room, %d workers died",
					r.runs, stop(), r.missed.Load(), r.full.Load(), r.killed.Load())
				if r.full.Load()+r.missed.Load() == 0 && limits.MaxRunning > 0 {
					t.Error("the workers were not in each other's way")
				}
			})
		}
	}
}

// The rate counts what begins, on all workers: in no window are there more than its count and the burst.
func TestQueueRateAmongMany(t *testing.T) {
	t.Parallel()
	limits := store.Queue{RateCount: 100, RateWindow: 400 * time.Millisecond, RateBurst: 5}
	r := newQueueRace(t, limits, 150)
	kit.Exec(t, r.b.side, `
		CREATE TABLE starts (at BIGINT);
		CREATE FUNCTION starts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.starts VALUES (NEW.updated_at); RETURN NULL; END';
		CREATE TRIGGER starts AFTER UPDATE ON workflows.workflow_runs
		FOR EACH ROW WHEN (NEW.status = 'running' AND OLD.status <> 'running') EXECUTE FUNCTION starts()`)
	begun := time.Now()
	r.race(t)
	took := time.Since(begun)
	starts := kit.Column[int64](t, r.b.side, `SELECT at FROM starts ORDER BY at`)
	if len(starts) != r.runs {
		t.Fatalf("%d starts of %d runs", len(starts), r.runs)
	}
	apart := limits.RateCount + limits.RateBurst
	for i := range len(starts) - apart {
		if within := starts[i+apart] - starts[i]; within < limits.RateWindow.Milliseconds()-1 {
			t.Fatalf("%d starts within %d ms, from the %dth on", apart+1, within, i)
		}
	}
	least := time.Duration(r.runs-limits.RateBurst) * limits.RateWindow / time.Duration(limits.RateCount)
	t.Logf("%d runs in %s, at least %s; %d claims came between", r.runs, took, least, r.missed.Load())
	if took > 2*least+kit.Patience/4 {
		t.Errorf("%d runs took %s, and could have taken %s", r.runs, took, least)
	}
}

// Two partitions of very different length get the same, within a tenth, for as long as both have runs, whoever claims.
func TestPartitionsAreFairAmongMany(t *testing.T) {
	t.Parallel()
	r := newQueueRace(t, store.Queue{MaxRunning: 4}, 10)
	n := r.runs * 10
	kit.Exec(t, r.b.side, `DELETE FROM workflows.workflow_runs`)
	kit.Exec(t, r.b.side, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, queue, priority, partition_key)
		SELECT 'run' || n, 'w', 'pending', '1', 1, 1, n, 'q', 2, CASE WHEN n <= $1::int THEN 'short' ELSE 'long' END
		FROM generate_series(1, 21 * $1::int) AS n`, n)
	r.runs = n
	r.race(t)
	short := kit.One[int](t, r.b.side, `SELECT count(*) FROM workflows.workflow_runs WHERE partition_key = 'short' AND status = 'completed'`)
	ended := int(r.ended.Load())
	t.Logf("of %d runs that ended first, %d are of the short partition", ended, short)
	if short < ended*45/100 || short > ended*55/100 {
		t.Errorf("of %d runs that ended first, %d are of the short partition, want half", ended, short)
	}
}
