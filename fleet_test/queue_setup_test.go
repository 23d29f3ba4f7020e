package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// claimsTable has a row for each time that a run of a queue begins or goes on. What was running then is counted in the claim's own
// transaction, but in a later snapshot: so a claim that has counted too early is seen, however soon its runs end. Two claims that do not
// see each other are not: those the sampler sees.
const claimsTable = `
CREATE INDEX ON history (run_id, n);

CREATE TABLE claims (
    n BIGINT NOT NULL DEFAULT nextval('clock') PRIMARY KEY, run_id TEXT NOT NULL, queue TEXT NOT NULL, partition TEXT NOT NULL,
    owner TEXT NOT NULL,
    asked TIMESTAMPTZ NOT NULL, at TIMESTAMPTZ NOT NULL, -- the claim's snapshot was taken between them
    stamped BIGINT NOT NULL, -- the claim's own time, Unix milliseconds
    running INT NOT NULL, by_worker INT NOT NULL, in_partition INT NOT NULL -- of the queue, with this one
);
CREATE INDEX ON claims (queue, n);

CREATE FUNCTION keep_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO claims (run_id, queue, partition, owner, asked, at, stamped, running, by_worker, in_partition)
    SELECT NEW.id, NEW.queue, NEW.partition_key, NEW.owner, now(), clock_timestamp(), NEW.updated_at,
           count(*), count(*) FILTER (WHERE owner = NEW.owner), count(*) FILTER (WHERE partition_key = NEW.partition_key)
    FROM workflows.workflow_runs
    WHERE queue = NEW.queue AND status = 'running';
    RETURN NULL;
END $$;
CREATE TRIGGER keep_claim AFTER UPDATE ON workflows.workflow_runs FOR EACH ROW
    WHEN (NEW.queue IS NOT NULL AND NEW.status = 'running' AND OLD.status <> 'running') EXECUTE FUNCTION keep_claim();`

// setupQueues returns a fleet with these queues, and a service that works on nothing.
func setupQueues(t *testing.T, queues ...workflow.Queue) (*fleet, *workflow.Service) {
	t.Helper()
	f := setup(t)
	f.exec(claimsTable)
	svc := f.service(f.db, nil)
	for _, queue := range queues {
		kit.Must(t, svc.SetQueue(t.Context(), queue))
	}
	return f, svc
}

// sized returns the number for this run of the tests.
func sized(smoke, full, soak int) int {
	switch {
	case pgtest.Soak():
		return soak
	case pgtest.Full():
		return full
	default:
		return smoke
	}
}

// A task is what a chore has to do.
type task struct {
	N     int
	Takes time.Duration
	Step  bool // it records a step
	Nap   bool // it sleeps for long enough to be parked
}

// chore does its task and returns its number.
func chore() *workflow.Workflow[task, int] {
	return workflow.Define("chore", func(ctx context.Context, do task) (int, error) {
		if do.Step {
			if _, err := workflow.Do(ctx, "step", func(context.Context) (int, error) { return do.N, nil }); err != nil {
				return 0, err
			}
		}
		if do.Nap {
			if err := workflow.Sleep(ctx, "nap", late); err != nil {
				return 0, err
			}
		}
		kit.Pause(ctx, do.Takes)
		return do.N, pass(ctx, ctx.Err())
	})
}

// start starts the chores with these numbers, some at a time.
func (f *fleet) start(on workflow.Session, from, to int, as func(n int) (task, []workflow.StartOption)) {
	f.t.Helper()
	kit.Must(f.t, startChores(kit.Context(f.t), on, from, to, as))
}

func startChores(ctx context.Context, on workflow.Session, from, to int, as func(n int) (task, []workflow.StartOption)) error {
	const atATime = 8
	return errors.Join(kit.Together(atATime, func(i int) error {
		for n := from + i; n < to; n += atATime {
			do, options := as(n)
			if _, err := chore().Start(ctx, on, do, append(options, workflow.WithRunID(runID(n)))...); err != nil {
				return fmt.Errorf("start chore %d: %w", n, err)
			}
		}
		return nil
	})...)
}

const unfinishedRuns = `
SELECT count(*) FROM workflows.workflow_runs WHERE status IN ('pending', 'running', 'suspended')`

func (f *fleet) untilAllEnd() {
	f.t.Helper()
	kit.Until(f.t, "all runs have ended", func() bool { return f.count(unfinishedRuns) == 0 })
}

func (f *fleet) claims() int {
	f.t.Helper()
	return f.count("SELECT count(*) FROM claims")
}

// untilClaims waits until n more runs of a queue have begun.
func (f *fleet) untilClaims(queue string, n int) {
	f.t.Helper()
	claims := func() int { return f.count("SELECT count(*) FROM claims WHERE queue = $1", queue) }
	before := claims()
	kit.Until(f.t, fmt.Sprintf("%d more runs of queue %q begin", n, queue), func() bool { return claims() >= before+n })
}

// now is the database's time.
func (f *fleet) now() time.Time {
	f.t.Helper()
	return kit.One[time.Time](f.t, f.db, "SELECT clock_timestamp()")
}

// checkChores looks at how the chores have ended, and what the history says.
func (f *fleet) checkChores(runs int) {
	f.t.Helper()
	if n := f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed' AND output = input -> 'N'"); n != runs {
		f.t.Errorf("%d of %d chores are completed with their number", n, runs)
	}
	f.verify()
}

// A pack is worker processes, on either driver, of which one after the other is killed, and replaced, or frozen for longer than its lease.
type pack struct {
	f         *fleet
	processes []*process
	killed    atomic.Int64
	over      chan struct{}
	ended     sync.WaitGroup
}

// release starts a pack of n. Between two kills passes between half of pause and the double; a pause of 0 kills none.
func (f *fleet) release(n int, j job, pause time.Duration) *pack {
	f.t.Helper()
	p := &pack{f: f, over: make(chan struct{})}
	for i := range n {
		p.processes = append(p.processes, f.spawn(f.onDriver(i, j)))
	}
	if pause != 0 {
		p.ended.Go(func() {
			for n := 0; p.wait(pause/2 + rand.N(3*pause/2)); n++ {
				p.strike(n, j)
			}
		})
	}
	return p
}

// onDriver lets the drivers take turns.
func (f *fleet) onDriver(n int, j job) job {
	access := []pgtest.Access{pgtest.PGX, pgtest.PQ}[n%2]
	j.Driver, j.URL = access.Driver, f.pg.AccessURL(f.t, access)
	return j
}

// wait reports whether the pack is still wanted after d.
func (p *pack) wait(d time.Duration) bool {
	select {
	case <-p.over:
		return false
	case <-time.After(d):
		return true
	}
}

// strike kills one, or freezes it first.
func (p *pack) strike(n int, j job) {
	i := rand.N(len(p.processes))
	if n%4 == 3 {
		p.processes[i].Signal(syscall.SIGSTOP)
		p.wait(lease + rand.N(lease))
		p.processes[i].Signal(syscall.SIGCONT)
		if !p.wait(rand.N(lease/10)) || n%8 == 3 {
			return
		}
	}
	p.processes[i].Kill()
	p.processes[i] = p.f.spawn(p.f.onDriver(i, j))
	p.killed.Add(1)
}

// stop ends the pack gently and returns how many were killed before.
func (p *pack) stop() int {
	p.f.t.Helper()
	close(p.over)
	p.ended.Wait()
	for _, process := range p.processes {
		process.Terminate()
	}
	return p.deaths()
}

func (p *pack) deaths() int { return int(p.killed.Load()) }

// feed keeps some hundred chores of each queue waiting until stop is called, which returns how many there were.
func (f *fleet) feed(on workflow.Session, takes time.Duration, queues ...string) (stop func() int) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	fed := kit.Go(f.t, func() int { return f.keepFed(ctx, on, takes, queues) })
	f.t.Cleanup(cancel) // before that is waited for
	return func() int {
		cancel()
		return kit.Receive(f.t, "the end of feeding", fed)
	}
}

func (f *fleet) keepFed(ctx context.Context, on workflow.Session, takes time.Duration, queues []string) (n int) {
	const waiting, atOnce = 200, 40
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		var there int // in the shortest queue: one that is paused keeps nothing from the others
		err := f.db.QueryRowContext(ctx, `
			SELECT min((SELECT count(*) FROM workflows.workflow_runs WHERE status = 'pending' AND queue = name))
			FROM unnest(string_to_array($1, ',')) AS name`, strings.Join(queues, ",")).Scan(&there)
		if ctx.Err() != nil {
			return n
		}
		if err == nil && there < waiting {
			err = startChores(context.WithoutCancel(ctx), on, n, n+atOnce, func(n int) (task, []workflow.StartOption) {
				return task{N: n, Takes: takes}, []workflow.StartOption{workflow.WithQueue(queues[n%len(queues)])}
			})
			n += atOnce
		}
		if err != nil {
			f.t.Error(err)
			return n
		}
	}
}
