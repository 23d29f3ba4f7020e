package engine_test

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A ledger of statements by what they are for.
type costs map[string]int

// A counted service, and what it has sent.
type counted struct {
	way     way
	svc     *workflow.Service
	db      *sql.DB // of svc
	side    *sql.DB
	counter *counting.Counter

	mu    sync.Mutex
	costs costs
	total counting.Counts
}

func count(t *testing.T, way way, change func(*workflow.Config)) *counted {
	t.Helper()
	pg := pgtest.New(t)
	db, counter, err := counting.Open(way.access.Driver, pg.AccessURL(t, way.access))
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	config := workflow.Config{DB: db, Statements: way.statements, PollInterval: time.Hour, Lease: time.Hour}
	change(&config)
	svc, err := workflow.New(config)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	return &counted{way: way, svc: svc, db: db, side: pg.Open(t, pgtest.PQ), counter: counter, costs: make(costs)}
}

// sofar adds what was sent since it was last asked.
func (c *counted) sofar() costs {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts, texts := c.counter.TakeTexts()
	for _, text := range texts {
		c.costs[classify(text).label]++
	}
	c.total.Begins += counts.Begins
	c.total.Commits += counts.Commits
	c.total.Rollbacks += counts.Rollbacks
	c.total.Statements += counts.Statements
	c.total.Prepares += counts.Prepares
	return c.costs
}

// spent waits until so much was spent, checks that it was no more, and begins again. So many of the transactions are those of
// transactional steps.
func (c *counted) spent(t *testing.T, want costs, transactions int) {
	t.Helper()
	kit.Until(t, "all is sent", func() bool {
		got := c.sofar()
		for label, n := range want {
			if got[label] < n {
				return false
			}
		}
		return true
	})
	// Nothing more comes, and what came has committed: else the next part of the test tells.
	kit.Until(t, "all is committed", func() bool { c.sofar(); return c.settled() })
	if diff := cmp.Diff(want, c.costs); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
	lone := 0
	for _, n := range want {
		lone += n
	}
	total := counting.Counts{Statements: lone, Begins: transactions, Commits: transactions}
	if c.way.statements == workflow.StatementsInTx { // a transactional step has one of the application's statements in its own
		total.Begins, total.Commits = lone-transactions, lone-transactions
	}
	if diff := cmp.Diff(total, c.total); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	c.forget()
}

// settle waits until the worker knows that nothing waits to be claimed, so that what starts here is executed at once, and
// begins to count.
func (c *counted) settle(t *testing.T) {
	t.Helper()
	warm := workflow.Define("warm", func(context.Context, int) (int, error) { return 1, nil })
	c.svc.Register(warm)
	kit.Work(t, c.svc)
	direct := 0
	kit.Until(t, "the worker starts runs at once, and has stopped looking for others", func() bool {
		kit.Until(t, "all is committed", func() bool { c.sofar(); return c.settled() })
		c.forget()
		handle, err := warm.Start(t.Context(), c.svc, 1)
		kit.Must(t, err)
		_, err = handle.Result(kit.Context(t))
		kit.Must(t, err)
		if direct++; c.sofar()["claim_runs"] > 0 {
			direct = 0
		}
		return direct == 25 // so that a claim for what came before has been sent, on a busy machine too
	})
	kit.Until(t, "all is committed", func() bool { return c.sofar()["end_run"] == 1 && c.settled() })
	c.forget()
}

// settled reports whether nothing is under way: no statement, and by the counts so far no transaction.
func (c *counted) settled() bool {
	return c.db.Stats().InUse == 0 && c.total.Begins == c.total.Commits+c.total.Rollbacks
}

func (c *counted) forget() {
	c.sofar()
	c.costs, c.total = make(costs), counting.Counts{}
}

func eachWay(t *testing.T, test func(t *testing.T, way way)) {
	t.Parallel()
	for _, way := range everyWay {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			test(t, way)
		})
	}
}

// One statement to start, one per step, one to finish; a transactional step has its transaction. The empty claim is the
// idle worker's poll: a run that starts where it is executed needs none.
func TestStatementsOfARun(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		kit.Exec(t, c.side, "CREATE TABLE booked (step TEXT)")
		inside, read := make(chan struct{}), make(chan struct{})
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			close(inside)
			<-read
			for range 3 {
				if _, err := workflow.Do(ctx, "s", func(context.Context) (int, error) { return 1, nil }); err != nil {
					return 0, err
				}
			}
			if err := workflow.Sleep(ctx, "nap", time.Millisecond); err != nil {
				return 0, err
			}
			return workflow.DoTx(ctx, "tx", func(ctx context.Context, tx *sql.Tx) (int, error) {
				_, err := tx.ExecContext(ctx, "TRUNCATE booked")
				return 1, err
			})
		})
		c.svc.Register(w)
		c.settle(t)
		handle, err := w.Start(t.Context(), c.svc, 1)
		kit.Must(t, err)
		<-inside
		c.spent(t, costs{"start_run": 1}, 0)

		// Held here: waiting for it reads nothing.
		result := make(chan error, 1)
		go func() {
			_, err := handle.Result(kit.Context(t))
			result <- err
		}()
		close(read)
		kit.Must(t, <-result)
		c.spent(t, costs{"checkpoint_step": 5, "TRUNCATE booked": 1, "end_run": 1}, 1)
	})
}

// A batch of new runs costs one claim, however many are in it, and what they write at the same time goes together.
func TestStatementsOfABatch(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		const runs = 30
		var together sync.WaitGroup
		together.Add(runs)
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(context.Context) (int, error) {
				together.Done()
				together.Wait()
				return 1, nil
			})
		})
		c.svc.Register(w)
		for range runs {
			_, err := w.Start(t.Context(), c.svc, 1)
			kit.Must(t, err)
		}
		c.spent(t, costs{"start_run": runs}, 0)
		kit.Work(t, c.svc)
		kit.Until(t, "all are completed", func() bool { // seen from outside: a wait for their results is a poll at first
			return kit.One[int](t, c.side, "SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed'") == runs
		})
		got := c.sofar()
		if got["claim_runs"] > 2 || got["load_steps"] != 0 || got["register_worker"] != 1 {
			t.Errorf("%v; want one claim that finds them, and no load, as they are new", got)
		}
		writes := got["checkpoint_step"] + got["end_run"] + got["write_rows"]
		t.Logf("%d runs with a step each: %d statements", runs, writes)
		if writes > runs/2 {
			t.Errorf("%v: %d statements for %d rows, most of which come together", got, writes, 2*runs)
		}
	})
}

// A parked run costs one statement to park, and a claim and a load when it wakes.
func TestStatementsOfAParkedRun(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(config *workflow.Config) { config.ParkAfter = time.Nanosecond })
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			return 1, workflow.Sleep(ctx, "nap", 2*time.Second)
		})
		c.svc.Register(w)
		c.settle(t)
		handle, err := w.Start(t.Context(), c.svc, 1)
		kit.Must(t, err)
		c.spent(t, costs{"start_run": 1, "checkpoint_step": 1, "park_run": 1}, 0)
		kit.Until(t, "it has slept", func() bool {
			return kit.One[bool](t, c.side, `SELECT coalesce(run_at, 'infinity'::float8) < extract(epoch FROM now()) * 1000
				FROM workflows.workflow_runs WHERE id = $1`, handle.RunID())
		})
		_, err = workflow.Define[int, int]("unknown", nil).Start(t.Context(), c.svc, 1) // makes the worker look
		kit.Must(t, err)
		c.spent(t, costs{"start_run": 1, "claim_runs": 1, "load_steps": 1, "end_run": 1}, 0)
	})
}

// A run that waits for a signal costs one statement to park, and the signal one. When it has come the run is claimed, loaded together
// with the signal, and takes it.
func TestStatementsOfASignal(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) { return letter.Wait(ctx, 0) })
		c.svc.Register(w)
		c.settle(t)
		handle, err := w.Start(t.Context(), c.svc, 1)
		kit.Must(t, err)
		c.spent(t, costs{"start_run": 1, "park_run": 1}, 0)
		kit.Must(t, letter.Send(t.Context(), c.svc, handle.RunID(), "come"))
		c.spent(t, costs{"send_signal": 1, "claim_runs": 1, "load_woken": 1, "take_step": 1, "end_run": 1}, 0)
	})
}

// Many runs are started by one statement, which schedules their step too; their ends cost no statement besides those that any end
// does, and are told once.
func TestStatementsOfAFanOut(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(config *workflow.Config) { config.Concurrency = 200 })
		const children = 100
		child := workflow.Define("child", func(context.Context, int) (int, error) { return 1, nil })
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			results, err := workflow.CallAll(ctx, "children", child, make([]int, children))
			return len(results), err
		})
		c.svc.Register(w, child)
		c.settle(t)
		handle, err := w.Start(t.Context(), c.svc, 1)
		kit.Must(t, err)
		kit.Until(t, "it has completed", func() bool { // seen from outside: a wait for its result is a poll if it parks
			return kit.One[bool](t, c.side, "SELECT status = 'completed' FROM workflows.workflow_runs WHERE id = $1", handle.RunID())
		})
		got := c.sofar()
		ends := got["end_child"] + got["write_rows"]
		t.Logf("%d children: %v", children, got)
		for label, n := range map[string]int{"start_run": 1, "fan_out": 1, "list_child_ends": 1, "take_step": 1, "end_run": 1} {
			if got[label] != n {
				t.Errorf("%d statements %s, want %d", got[label], label, n)
			}
		}
		if ends > children/3 || got["read_inbox"] > 2 || got["claim_runs"] > children/5 { // polls are among them
			t.Errorf("%v; want most ends together, and one look at what has come", got)
		}
	})
}

// One heartbeat per interval, whatever the worker executes; once a beat it looks for dead workers that own runs, and does no
// more when there are none.
func TestStatementsOfAHeartbeat(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		const lease, beats = 6 * time.Second, 4 // a lease that is lost costs more statements
		c := count(t, way, func(config *workflow.Config) { config.Lease = lease })
		hold := make(chan struct{})
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) { <-hold; return 1, nil })
		c.svc.Register(w)
		defer close(hold)
		for range 10 {
			_, err := w.Start(t.Context(), c.svc, 1)
			kit.Must(t, err)
		}
		began := time.Now()
		kit.Work(t, c.svc)
		kit.Until(t, "it beats", func() bool { return c.sofar()["heartbeat"] >= beats })
		got := c.sofar()
		most := int(time.Since(began)/(lease/6)) + 1
		if got["heartbeat"] > most || got["find_orphans"] > most {
			t.Errorf("%v in %s, want at most %d of each of the lease's", got, time.Since(began), most)
		}
		expected := []string{
			"start_run", "register_worker", "claim_runs", "find_queues", "heartbeat", "find_orphans", "owned_runs", "find_overdue", "unserved_workflows", "unserved_queues",
			"due_schedules", "unserved_schedules",
		}
		for label := range got {
			if !slices.Contains(expected, label) {
				t.Errorf("sent by a worker whose runs wait: %q", label)
			}
		}
		if got["claim_runs"] > 2 {
			t.Errorf("%v, want no reads in steady state", got)
		}
	})
}
