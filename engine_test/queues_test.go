package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A hall is a database with workers.
type hall struct {
	pg  *pgtest.Database
	way way
	svc *workflow.Service // starts runs, and executes none
}

func newHall(t *testing.T, way way, queues ...workflow.Queue) *hall {
	t.Helper()
	o := &hall{pg: pgtest.New(t), way: way}
	_, o.svc = o.worker(t, "hall", nil)
	for _, queue := range queues {
		kit.Must(t, o.svc.SetQueue(t.Context(), queue))
	}
	return o
}

// worker returns a process with a service that does not work yet.
func (o *hall) worker(t *testing.T, name string, change func(*workflow.Config), workflows ...workflow.Definition) (*process, *workflow.Service) {
	t.Helper()
	p, db := newProcess(t, o.pg, o.way.access, name, cut{})
	config := workflow.Config{DB: db, Statements: o.way.statements, Lease: lease, PollInterval: shortPoll, ParkAfter: time.Minute}
	if change != nil {
		change(&config)
	}
	svc, err := workflow.New(config)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, svc.Close()) })
	svc.Register(workflows...)
	return p, svc
}

func start[Out any](t *testing.T, svc *workflow.Service, w *workflow.Workflow[int, Out], in int, options ...workflow.StartOption) *workflow.Handle[Out] {
	t.Helper()
	handle, err := w.Start(t.Context(), svc, in, options...)
	kit.Must(t, err)
	return handle
}

func ends[Out any](t *testing.T, handles ...*workflow.Handle[Out]) {
	t.Helper()
	for _, handle := range handles {
		if _, err := handle.Result(kit.Context(t)); err != nil {
			t.Errorf("run %s: %v", handle.RunID(), err)
		}
	}
}

// Of runs that wait the most urgent begins first, and of those the one that was started first.
func TestPrioritiesInAQueue(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		o := newHall(t, way, workflow.Queue{Name: "q", MaxRunning: 1})
		var mu sync.Mutex
		var order []int
		w := workflow.Define("w", func(_ context.Context, n int) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, n)
			return n, nil
		})
		var handles []*workflow.Handle[int]
		for n, priority := range []workflow.Priority{
			workflow.PriorityNormal, workflow.PriorityLowest, workflow.PriorityHigh, workflow.PriorityLow, workflow.PriorityHighest,
			workflow.PriorityNormal, workflow.PriorityHigh,
		} {
			handles = append(handles, start(t, o.svc, w, n, workflow.WithQueue("q"), workflow.WithPriority(priority)))
		}
		_, svc := o.worker(t, "worker", nil, w)
		kit.Work(t, svc)
		ends(t, handles...)
		if diff := cmp.Diff([]int{4, 2, 6, 0, 5, 3, 1}, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// A worker executes what it serves and nothing else, and asks for nothing else; its row says what that is. It may start and call what
// others serve.
func TestServe(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		o := newHall(t, way, workflow.Queue{Name: "a"}, workflow.Queue{Name: "b"})
		var mu sync.Mutex
		executed := make(map[string]map[string]bool) // by worker: queues
		processes := make(map[string]*process)
		work := func(name string, serve ...string) *workflow.Service {
			leaf := workflow.Define("leaf", func(_ context.Context, queue string) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				if executed[name] == nil {
					executed[name] = make(map[string]bool)
				}
				executed[name][queue] = true
				return 1, nil
			})
			tree := workflow.Define("tree", func(ctx context.Context, _ int) (int, error) {
				for _, queue := range []string{"a", "b"} {
					if _, err := workflow.Call(ctx, "to "+queue, leaf, queue, workflow.WithQueue(queue)); err != nil {
						return 0, err
					}
				}
				return workflow.Call(ctx, "to none", leaf, "none")
			})
			p, svc := o.worker(t, name, func(c *workflow.Config) { c.Serve, c.Concurrency = serve, 1 }, leaf, tree)
			processes[name] = p
			kit.Work(t, svc)
			return svc
		}
		tree := workflow.Define[int, int]("tree", nil)
		onlyA := work("only a", "a")
		work("only b", "b")
		noQueue := work("no queue", workflow.NoQueue)

		var handles []*workflow.Handle[int]
		for range 5 {
			handles = append(handles, start(t, onlyA, tree, 1), start(t, noQueue, tree, 1), start(t, noQueue, tree, 1, workflow.WithQueue("b")))
		}
		ends(t, handles...)
		mu.Lock()
		defer mu.Unlock()
		want := map[string]map[string]bool{"only a": {"a": true}, "only b": {"b": true}, "no queue": {"none": true}}
		if diff := cmp.Diff(want, executed); diff != "" {
			t.Errorf("executed (-want +got):\n%s", diff)
		}
		for name, labels := range map[string][]string{"only a": {"claim_runs"}, "only b": {"claim_runs"}, "no queue": {"claim_queue", "claim_partitions", "find_queues"}} {
			for _, label := range labels {
				if _, sent := processes[name].newest(label); sent {
					t.Errorf("%s has sent %s", name, label)
				}
			}
		}
		served := kit.Column[string](t, o.pg.Open(t, pgtest.PQ),
			"SELECT coalesce(array_to_string(queues, '+'), 'all') FROM workflows.workflow_workers ORDER BY 1")
		if diff := cmp.Diff([]string{"", "a", "b"}, served); diff != "" {
			t.Errorf("queues of the workers' rows (-want +got):\n%s", diff)
		}
	})
}

// Of the runs above a rate none begins, whoever asks, and none is lost: they begin once it allows that.
func TestRateInNumbers(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		const burst, runs = 3, 20
		o := newHall(t, way, workflow.Queue{Name: "q", Rate: workflow.Rate{Count: 1, Per: 24 * time.Hour, Burst: burst}}, workflow.Queue{Name: "other"})
		var begun atomic.Int32
		w := workflow.Define("w", func(context.Context, int) (int, error) { return int(begun.Add(1)), nil })
		other := workflow.Define("other", func(context.Context, int) (int, error) { return 1, nil })
		for i := range 3 {
			_, svc := o.worker(t, fmt.Sprint("worker ", i), nil, w, other)
			kit.Work(t, svc)
		}
		var handles []*workflow.Handle[int]
		for n := range runs {
			handles = append(handles, start(t, o.svc, w, n, workflow.WithQueue("q")))
		}
		kit.Until(t, "as many as may begin at once have", func() bool { return begun.Load() >= burst })
		for range 20 { // what the workers ask meanwhile brings none
			ends(t, start(t, o.svc, other, 1, workflow.WithQueue("other")))
		}
		if n := begun.Load(); n != burst {
			t.Errorf("%d have begun, want %d", n, burst)
		}
		kit.Must(t, o.svc.SetQueue(t.Context(), workflow.Queue{Name: "q"}))
		ends(t, handles...)
		if n := begun.Load(); n != runs {
			t.Errorf("%d have begun, want %d", n, runs)
		}
	})
}

// Queues that are full, paused or for their rate closed hold up no other, with one slot for all of them and for runs without a queue.
func TestQueuesDoNotHoldUpEachOther(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		rare := workflow.Rate{Count: 1, Per: 24 * time.Hour}
		o := newHall(t, way, workflow.Queue{Name: "full", MaxRunning: 1}, workflow.Queue{Name: "paused"}, workflow.Queue{Name: "rare", Rate: rare},
			workflow.Queue{Name: "open"}, workflow.Queue{Name: "open too", MaxRunning: 1})
		kit.Must(t, o.svc.PauseQueue(t.Context(), "paused"))
		hold := workflow.Define("hold", func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		quick := workflow.Define("quick", func(context.Context, int) (int, error) { return 1, nil })
		_, holder := o.worker(t, "holder", func(c *workflow.Config) { c.Drain = time.Millisecond }, hold)
		kit.Work(t, holder)
		held := start(t, o.svc, hold, 1, workflow.WithQueue("full"))
		kit.Until(t, "the queue is full", func() bool {
			run, err := o.svc.GetRun(t.Context(), held.RunID())
			return err == nil && run.Status == workflow.RunRunning
		})
		for range 10 {
			for _, queue := range []string{"full", "paused", "rare"} {
				start(t, o.svc, quick, 1, workflow.WithQueue(queue))
			}
		}
		_, svc := o.worker(t, "worker", func(c *workflow.Config) { c.Concurrency = 1 }, quick)
		kit.Work(t, svc)
		var handles []*workflow.Handle[int]
		for range 20 {
			for _, queue := range []string{"open", "open too"} {
				handles = append(handles, start(t, o.svc, quick, 1, workflow.WithQueue(queue)))
			}
			handles = append(handles, start(t, svc, quick, 1), start(t, o.svc, quick, 1))
		}
		ends(t, handles...)
		side := o.pg.Open(t, pgtest.PQ)
		begun := kit.Column[string](t, side, `SELECT queue || ' ' || count(*) FROM workflows.workflow_runs
			WHERE workflow = 'quick' AND queue NOT LIKE 'open%' AND status <> 'pending' GROUP BY queue`)
		if diff := cmp.Diff([]string{"rare 1"}, begun); diff != "" {
			t.Errorf("runs that have begun in queues that are shut (-want +got):\n%s", diff)
		}
	})
}

// A run that waits in a queue that nobody serves is warned of, by the name of the queue, and whoever awaits it is told.
func TestUnservedQueue(t *testing.T) {
	t.Parallel()
	o := newHall(t, everyWay[1], workflow.Queue{Name: "nobody's"})
	log := new(logBook)
	w := workflow.Define("w", func(context.Context, int) (int, error) { return 1, nil })
	_, svc := o.worker(t, "worker", func(c *workflow.Config) {
		c.Serve, c.Lease, c.Logger = []string{workflow.NoQueue}, time.Second, slog.New(slog.NewTextHandler(log, nil))
	}, w)
	handle := start(t, o.svc, w, 1, workflow.WithQueue("nobody's"))
	kit.Work(t, svc)
	kit.Until(t, "the worker warns", func() bool {
		return slices.ContainsFunc(log.lines(), func(line string) bool {
			return strings.Contains(line, "no living worker serves") && strings.Contains(line, "nobody's") && strings.Contains(line, "[w]")
		})
	})
	_, err := handle.Result(kit.Within(t, 100*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), `not serve queue "nobody's"`) {
		t.Errorf("%v; want the reason why it waits", err)
	}
}

// A logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logBook) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(l.text.String(), "\n")
}
