package workflow_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A queue that cannot be is refused, with the field and what to do named, before anything is written, and a transaction goes on.
func TestWrongQueues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx := kit.Begin(t, b.db)
	at := func(count int, per time.Duration, burst int) workflow.Queue {
		return workflow.Queue{Name: "q", Rate: workflow.Rate{Count: count, Per: per, Burst: burst}}
	}
	for name, test := range map[string]struct {
		queue workflow.Queue
		want  []string
	}{
		"no name":         {workflow.Queue{}, []string{"Queue.Name", "empty"}},
		"long name":       {workflow.Queue{Name: strings.Repeat("é", 128)}, []string{"Queue.Name", "256 bytes", "at most 255"}},
		"NUL":             {workflow.Queue{Name: "a\x00b"}, []string{"Queue.Name", "NUL"}},
		"not UTF-8":       {workflow.Queue{Name: "a\xff"}, []string{"Queue.Name", "UTF-8"}},
		"negative":        {workflow.Queue{Name: "q", MaxRunning: -1}, []string{"Queue.MaxRunning is -1", "0 for no limit"}},
		"worker":          {workflow.Queue{Name: "q", MaxPerWorker: -2}, []string{"Queue.MaxPerWorker is -2"}},
		"partition":       {workflow.Queue{Name: "q", MaxPerPartition: -3}, []string{"Queue.MaxPerPartition is -3"}},
		"too many":        {workflow.Queue{Name: "q", MaxRunning: math.MaxInt32 + 1}, []string{"Queue.MaxRunning", "at most 2147483647"}},
		"negative rate":   {workflow.Queue{Name: "q", Rate: workflow.PerSecond(-1)}, []string{"Queue.Rate.Count is -1"}},
		"no count":        {workflow.Queue{Name: "q", Rate: workflow.PerSecond(0)}, []string{"Queue.Rate has no Count", "PauseQueue"}},
		"only a burst":    {at(0, 0, 5), []string{"Queue.Rate has no Count"}},
		"no time":         {at(5, 0, 0), []string{"no Per", "PerSecond(5)"}},
		"negative time":   {at(5, -time.Second, 0), []string{"Queue.Rate.Per is -1s", "milliseconds"}},
		"too short":       {at(5, time.Microsecond, 0), []string{"Queue.Rate.Per is 1µs"}},
		"no whole one":    {at(5, 1500*time.Microsecond, 0), []string{"Queue.Rate.Per is 1.5ms"}},
		"too long":        {at(5, math.MaxInt64, 0), []string{"Queue.Rate.Per", "at most 744h"}},
		"too often":       {at(1_000_001, time.Second, 0), []string{"Queue.Rate is 1000001 in 1s", "microsecond"}},
		"negative burst":  {at(5, time.Second, -1), []string{"Queue.Rate.Burst is -1"}},
		"too large burst": {at(5, time.Second, math.MaxInt32), []string{"Queue.Rate.Burst", "at most 1000000"}},
	} {
		for _, on := range []workflow.State{b.svc.State, b.svc.In(tx)} {
			for verb, err := range map[string]error{
				"set": on.SetQueue(t.Context(), test.queue), "ensure": on.EnsureQueue(t.Context(), test.queue),
			} {
				kit.WantIs(t, err, workflow.ErrInvalidArgument)
				for _, part := range append(test.want, "workflow: "+verb+" queue: ") {
					if err != nil && (!strings.Contains(err.Error(), part) || strings.Count(err.Error(), "workflow:") != 1) {
						t.Errorf("%s: %v, want %q in it", name, err, part)
					}
				}
			}
		}
	}
	for _, on := range []workflow.State{b.svc.State, b.svc.In(tx)} {
		for _, name := range []string{"", strings.Repeat("x", 256), "a\x00"} {
			kit.WantIs(t, on.PauseQueue(t.Context(), name), workflow.ErrInvalidArgument)
			kit.WantIs(t, on.ResumeQueue(t.Context(), name), workflow.ErrInvalidArgument)
			kit.WantIs(t, second(on.GetQueue(t.Context(), name)), workflow.ErrInvalidArgument)
		}
		kit.WantIs(t, on.PauseQueue(t.Context(), "imges"), workflow.ErrQueueNotFound)
		kit.WantIs(t, on.ResumeQueue(t.Context(), "imges"), workflow.ErrQueueNotFound)
		kit.WantIs(t, second(on.GetQueue(t.Context(), "imges")), workflow.ErrQueueNotFound)
	}
	kit.WantIs(t, second(b.svc.ListRuns(t.Context(), workflow.RunFilter{Queue: "a\x00"})), workflow.ErrInvalidArgument)
	kit.One[int](t, tx, "SELECT 1")
	if queues, err := b.svc.ListQueues(t.Context()); err != nil || len(queues) > 0 {
		t.Errorf("queues %+v, %v; want none", queues, err)
	}
}

// The largest queue that is taken works.
func TestLargestQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	name, partition := strings.Repeat("q", 255), strings.Repeat("p", 255)
	for _, rate := range []workflow.Rate{
		{Count: 1, Per: 31 * 24 * time.Hour, Burst: 1_000_000},
		{Count: 1_000_000, Per: time.Second},
		{Count: math.MaxInt32, Per: 31 * 24 * time.Hour, Burst: 1_000_000},
	} {
		kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{
			Name: name, MaxRunning: math.MaxInt32, MaxPerWorker: math.MaxInt32, MaxPerPartition: math.MaxInt32, Rate: rate,
		}))
		for range 3 {
			handle, err := w.Start(t.Context(), b.svc, 1,
				workflow.WithQueue(name), workflow.WithPartition(partition), workflow.WithUnique(strings.Repeat("u", 1024)))
			kit.Must(t, err)
			_, err = handle.Result(kit.Context(t))
			kit.Must(t, err)
		}
	}
}

// Wrong options start nothing, whichever way a run is started, and a transaction goes on.
func TestWrongQueueOptions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensure(workflow.Queue{Name: "q"})
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(child)
	tx := kit.Begin(t, b.db)
	type options = []workflow.RunOption
	long, inQueue := strings.Repeat("x", 256), workflow.WithQueue("q")
	for name, test := range map[string]struct {
		options options
		want    error
		says    []string
	}{
		"no name":     {options{workflow.WithQueue("")}, workflow.ErrInvalidArgument, []string{"queue name", "empty"}},
		"long name":   {options{workflow.WithQueue(long)}, workflow.ErrInvalidArgument, []string{"queue name", "at most 255"}},
		"NUL":         {options{workflow.WithQueue("a\x00")}, workflow.ErrInvalidArgument, []string{"queue name", "NUL"}},
		"typo":        {options{workflow.WithQueue("Q")}, workflow.ErrQueueNotFound, []string{`"Q"`, "SetQueue", "EnsureQueue"}},
		"no key":      {options{inQueue, workflow.WithPartition("")}, workflow.ErrInvalidArgument, []string{"partition", "empty"}},
		"long key":    {options{inQueue, workflow.WithPartition(long)}, workflow.ErrInvalidArgument, []string{"partition", "at most 255"}},
		"partition":   {options{workflow.WithPartition("p")}, workflow.ErrInvalidArgument, []string{"partition", "WithQueue"}},
		"priority":    {options{workflow.WithPriority(workflow.PriorityHigh)}, workflow.ErrInvalidArgument, []string{"priority", "WithQueue"}},
		"no priority": {options{inQueue, workflow.WithPriority(3)}, workflow.ErrInvalidArgument, []string{"priority 3", "PriorityLowest"}},
		"too high":    {options{inQueue, workflow.WithPriority(-3)}, workflow.ErrInvalidArgument, []string{"priority -3", "PriorityHighest"}},
	} {
		check := func(how string, err error) {
			t.Helper()
			kit.WantIs(t, err, test.want)
			for _, part := range test.says {
				if err != nil && (!strings.Contains(err.Error(), part) || strings.Count(err.Error(), "workflow:") != 1) {
					t.Errorf("%s, %s: %v, want %q in it", name, how, err, part)
				}
			}
		}
		var start []workflow.StartOption
		var call []workflow.CallOption
		for _, option := range test.options {
			start, call = append(start, option), append(call, option)
		}
		check("on the service", second(child.Start(t.Context(), b.svc, 1, start...)))
		check("in a transaction", second(child.Start(t.Context(), b.svc.In(tx), 1, start...)))
		_, _, err := run(b, "parent "+name, func(ctx context.Context, n int) (int, error) {
			check("Call", second(workflow.Call(ctx, "call", child, n, call...)))
			check("CallAll", second(workflow.CallAll(ctx, "all", child, []int{n, n}, call...)))
			check("Spawn", second(workflow.Spawn(ctx, "spawn", child, n, call...)))
			return n, nil
		})
		kit.Must(t, err)
	}
	kit.One[int](t, tx, "SELECT 1")
	kit.Must(t, tx.Commit())
	if started := kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'child'"); started > 0 {
		t.Errorf("%d runs were started", started)
	}
}

// A call into a queue that is not there yet fails its run, which goes on once the queue is there and the run is resumed. What is
// recorded does not ask for its queue again.
func TestCallIntoAQueueThatComesLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	child := workflow.Define("child", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) {
		first, err := workflow.Call(ctx, "first", child, n, workflow.WithQueue("first"))
		if err != nil {
			return 0, err
		}
		return workflow.Call(ctx, "second", child, first, workflow.WithQueue("second"))
	})
	b.svc.Register(parent, child)
	stop := kit.Work(t, b.svc)
	b.ensure(workflow.Queue{Name: "first"})
	handle, err := parent.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	_, err = handle.Result(kit.Context(t))
	var failed *workflow.RunError
	if !errors.As(err, &failed) || !strings.Contains(failed.Error(), `queue "second"`) || !strings.Contains(failed.Error(), "EnsureQueue") {
		t.Errorf("result %v, want the missing queue named", err)
	}
	stop()

	b.ensure(workflow.Queue{Name: "second"})
	kit.Exec(t, b.db, "DELETE FROM workflows.workflow_queues WHERE name = 'first'")
	svc := b.service() // which knows of no queue
	svc.Register(parent, child)
	kit.Work(t, svc)
	kit.Must(t, svc.Resume(t.Context(), handle.RunID()))
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 3 {
		t.Errorf("result %d, %v", got, err)
	}
}
