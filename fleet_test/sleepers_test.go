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

// sleeper sleeps for longer than any test lasts, unless somebody moves its time, and returns its number.
func sleeper() *workflow.Workflow[int, int] {
	return workflow.Define("sleeper", func(ctx context.Context, n int) (int, error) {
		return n, pass(ctx, workflow.Sleep(ctx, "nap", 24*time.Hour))
	})
}

const asleep = `SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'sleeper' AND status = 'suspended'`

// Many sleepers are due at the same moment while worker processes are killed and frozen past their lease, connections are cut in the midst
// of claims, and transactions of the application hold some of them: all are woken, and none stays parked.
func TestSleepersAllWake(t *testing.T) {
	t.Parallel()
	f := setup(t)
	sleepers := sized(500, 2_000, 100_000)
	f.putToSleep(sleepers)

	pause := time.Duration(sized(500, 500, 1500)) * time.Millisecond
	pack := f.release(4, job{Does: "sleepers", Concurrency: 64}, pause)
	ctx, calm := context.WithCancel(context.Background())
	t.Cleanup(calm)
	cuts := kit.Go(t, func() int { return f.cutConnections(ctx, pause/4) })
	held := kit.Go(t, func() error { return f.holdSleepers(ctx, sleepers) })
	f.wakeAll()
	kit.Until(t, "half of them have ended", func() bool { return f.count(asleep) <= sleepers/2 })
	kit.Until(t, "some workers were killed", func() bool { return pack.deaths() > 1 || f.count(unfinishedRuns) == 0 })
	calm()
	kit.Must(t, kit.Receive(t, "the transactions of the application", held))
	n := kit.Receive(t, "the end of the cuts", cuts)
	for left := f.count(unfinishedRuns); left > 0; left /= 2 {
		kit.Until(t, fmt.Sprintf("of %d that are left half have ended", left), func() bool { return f.count(unfinishedRuns) <= left/2 })
	}
	t.Logf("%d sleepers, %d workers killed, %d connections cut", sleepers, pack.stop(), n)
	if n := f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed' AND output = input"); n != sleepers {
		t.Errorf("%d of %d sleepers have ended with their number", n, sleepers)
	}
	f.verify()
}

// putToSleep starts sleepers and returns when all of them are parked.
func (f *fleet) putToSleep(n int) {
	f.t.Helper()
	worker := f.service(f.db, func(c *workflow.Config) { c.ParkAfter, c.Concurrency = time.Millisecond, 256 })
	worker.Register(sleeper())
	stop := kit.Work(f.t, worker)
	const atATime = 64
	for from := 0; from < n; from += 10_000 { // so that no single wait is for more than these
		to := min(from+10_000, n)
		kit.Must(f.t, errors.Join(kit.Together(atATime, func(i int) error {
			for run := from + i; run < to; run += atATime {
				if _, err := sleeper().Start(f.t.Context(), worker, run, workflow.WithRunID(runID(run))); err != nil {
					return fmt.Errorf("start sleeper %d: %w", run, err)
				}
			}
			return nil
		})...))
		kit.Until(f.t, fmt.Sprintf("%d sleepers are parked", to), func() bool { return f.count(asleep) == to })
	}
	stop()
}

// wakeAll makes all sleepers due, at one time. The history knows nothing of it.
func (f *fleet) wakeAll() {
	f.t.Helper()
	tx := kit.Begin(f.t, f.db)
	kit.Exec(f.t, tx, `SET LOCAL session_replication_role = replica`)
	kit.Exec(f.t, tx, `UPDATE workflows.workflow_steps SET wake_at = 1 WHERE step_name = 'nap'`)
	kit.Exec(f.t, tx, `
		UPDATE workflows.workflow_runs SET run_at = extract(epoch FROM now()) * 1000
		WHERE workflow = 'sleeper' AND status = 'suspended'`)
	kit.Must(f.t, tx.Commit())
}

// cutConnections terminates backends that execute statements of ours, some at a time, until ctx ends, and returns how many.
func (f *fleet) cutConnections(ctx context.Context, pause time.Duration) (cut int) {
	for ctx.Err() == nil {
		kit.Pause(ctx, pause/2+rand.N(pause))
		var n int
		err := f.db.QueryRowContext(ctx, `
			SELECT count(pg_terminate_backend(pid))
			FROM (SELECT pid FROM pg_stat_activity
			      WHERE datname = current_database() AND state = 'active' AND query LIKE '%/* workflow %'
			      LIMIT 3) AS victim`).Scan(&n)
		if err == nil {
			cut += n
		}
	}
	return cut
}

// holdSleepers locks sleepers for a while, as transactions of the application do that send to them, until ctx ends.
func (f *fleet) holdSleepers(ctx context.Context, sleepers int) error {
	for ctx.Err() == nil {
		tx, err := f.db.BeginTx(context.WithoutCancel(ctx), nil)
		if err != nil {
			return err
		}
		first := rand.N(sleepers)
		_, err = tx.ExecContext(context.WithoutCancel(ctx), `
			SELECT FROM workflows.workflow_runs WHERE id BETWEEN $1 AND $2 AND status = 'suspended' FOR NO KEY UPDATE SKIP LOCKED`,
			runID(first), runID(first+sleepers/20))
		kit.Pause(ctx, 200*time.Millisecond+rand.N(time.Second))
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Rollback(); err != nil {
			return err
		}
	}
	return nil
}
