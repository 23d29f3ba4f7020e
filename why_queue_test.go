package workflow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// queued starts a run of hold.
func (b *bench) queued(options ...workflow.StartOption) string {
	b.t.Helper()
	return started(hold.Start(b.t.Context(), b.svc, 1, options...))(b.t)
}

// fill starts n runs of hold and waits until they are executed.
func (b *bench) fill(n int, options ...workflow.StartOption) (ids []string) {
	b.t.Helper()
	for range n {
		ids = append(ids, b.queued(options...))
	}
	for _, id := range ids {
		kit.Until(b.t, "the run is executed", func() bool { return b.get(id).Owner != "" })
	}
	return ids
}

// executed are runs of hold, as an answer has them.
func (b *bench) executed(got workflow.Why, most int, ids ...string) []workflow.WhyRun {
	b.t.Helper()
	known := make(map[string]bool)
	for _, id := range ids {
		known[id] = true
	}
	for i, run := range got.Runs {
		if !known[run.RunID] || run.Workflow != "hold" || run.Status != workflow.RunRunning || run.Since.IsZero() {
			b.t.Errorf("%+v fills it, want one of %q, running", run, ids)
		}
		if i > 0 && run.Since.Before(got.Runs[i-1].Since) {
			b.t.Errorf("%s runs for longer than the one before it", run.RunID)
		}
		delete(known, run.RunID)
	}
	if len(got.Runs) != min(most, len(ids)) {
		b.t.Errorf("%d runs fill it, want %d", len(got.Runs), min(most, len(ids)))
	}
	return got.Runs
}

func TestWhyNoWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.why(b.queued(), workflow.WhyNoWorker)
	b.wantWhy(got, workflow.Why{Code: workflow.WhyNoWorker, Since: got.Now},
		"the run is pending and has waited to be claimed for", `; no worker is alive to execute workflow "hold"`)
}

// A worker that does not know the workflow, or does not serve the queue, does not help.
func TestWhyUnserved(t *testing.T) {
	t.Parallel()
	b := whyBench(t, func(c *workflow.Config) { c.Serve = []string{"a"} }, hold)
	b.ensure(workflow.Queue{Name: "a"})
	b.ensure(workflow.Queue{Name: "b"})
	want := workflow.Why{Code: workflow.WhyUnserved, Workers: 1}
	for id, words := range map[string]string{
		started(nobodys.Start(t.Context(), b.svc, 1, workflow.WithQueue("a")))(t): `has not registered workflow "nobody's", or does not serve queue "a"`,
		b.queued(workflow.WithQueue("b")):                                         `has not registered workflow "hold", or does not serve queue "b"`,
		b.queued():                                                                `has not registered workflow "hold"`,
	} {
		got := b.why(id, workflow.WhyUnserved)
		want.Since = got.Now
		b.wantWhy(got, want, words, "the only living worker")
	}
}

func TestWhyNoQueue(t *testing.T) {
	t.Parallel()
	b := whyBench(t, unchanged, hold)
	b.ensure(workflow.Queue{Name: "gone"})
	kit.Must(t, b.svc.PauseQueue(t.Context(), "gone"))
	id := b.queued(workflow.WithQueue("gone"))
	kit.Exec(t, b.db, `DELETE FROM workflows.workflow_queues; DELETE FROM workflows.workflow_queue_turns`)
	got := b.why(id, workflow.WhyNoQueue)
	b.wantWhy(got, workflow.Why{Code: workflow.WhyNoQueue, Since: got.Now, Workers: 1, Serving: 1}, `in queue "gone", which is not there any more`)
}

func TestWhyQueuePaused(t *testing.T) {
	t.Parallel()
	b := whyBench(t, unchanged, hold)
	b.ensure(workflow.Queue{Name: "shut"})
	kit.Must(t, b.svc.PauseQueue(t.Context(), "shut"))
	got := b.why(b.queued(workflow.WithQueue("shut")), workflow.WhyQueuePaused)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyQueuePaused, Since: got.Now, PausedAt: b.queue("shut").PausedAt, Workers: 1, Serving: 1,
	}, `in queue "shut", which is paused since 20`)
}

func TestWhyQueueFull(t *testing.T) {
	t.Parallel()
	b := whyBench(t, unchanged, hold)
	b.ensure(workflow.Queue{Name: "q", MaxRunning: 12})
	ids := b.fill(12, workflow.WithQueue("q"))
	got := b.why(b.queued(workflow.WithQueue("q")), workflow.WhyQueueFull)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyQueueFull, Since: got.Now, Limit: 12, Count: 12, Runs: b.executed(got, 10, ids...), Workers: 1, Serving: 1, Executing: 12,
	}, `in queue "q", which is full: 12 of at most 12 runs are executed: `+got.Runs[0].RunID+" (hold, running), ", "and 2 more")
}

// A partition may be full while others are not.
func TestWhyPartitionFull(t *testing.T) {
	t.Parallel()
	b := whyBench(t, unchanged, hold)
	b.ensure(workflow.Queue{Name: "q", MaxPerPartition: 2})
	b.fill(1, workflow.WithQueue("q"), workflow.WithPartition("aaa"))
	ids := b.fill(2, workflow.WithQueue("q"), workflow.WithPartition("acme"))
	got := b.why(b.queued(workflow.WithQueue("q"), workflow.WithPartition("acme")), workflow.WhyPartitionFull)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyPartitionFull, Since: got.Now, Limit: 2, Count: 2, Runs: b.executed(got, 10, ids...), Workers: 1, Serving: 1, Executing: 3,
	}, `in queue "q", in which partition "acme" is full: 2 of at most 2 runs are executed: `+got.Runs[0].RunID)
}

// Each of two workers has as many as it may, which a third one that serves other queues does not change.
func TestWhyWorkersFull(t *testing.T) {
	t.Parallel()
	b := whyBench(t, unchanged, hold)
	b.worker(unchanged, hold)
	b.worker(func(c *workflow.Config) { c.Serve = []string{"other"} }, hold)
	b.ensure(workflow.Queue{Name: "q", MaxPerWorker: 2})
	ids := b.fill(4, workflow.WithQueue("q"))
	got := b.why(b.queued(workflow.WithQueue("q")), workflow.WhyWorkersFull)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyWorkersFull, Since: got.Now, Limit: 2, Count: 4, Runs: b.executed(got, 10, ids...), Workers: 3, Serving: 2, Executing: 4,
	}, `in queue "q", of which a worker executes at most 2 runs, and each that serves it does: `+got.Runs[0].RunID)
}

func TestWhyRate(t *testing.T) {
	t.Parallel()
	b := whyBench(t, unchanged, hold)
	b.ensure(workflow.Queue{Name: "q", Rate: workflow.Rate{Count: 1, Per: time.Hour, Burst: 2}})
	b.fill(2, workflow.WithQueue("q"))
	got := b.why(b.queued(workflow.WithQueue("q")), workflow.WhyRate)
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyRate, Since: got.Now, Until: got.Now.Add(time.Hour), Workers: 1, Serving: 1, Executing: 2,
	}, `in queue "q", whose rate lets the next run begin at 20`, "(in ")
}

// All slots are taken. Of a queue those count that go first: of its partition, with a higher priority or due for longer.
func TestWhyBehind(t *testing.T) {
	t.Parallel()
	b := whyBench(t, func(c *workflow.Config) { c.Concurrency = 1 }, hold)
	b.ensure(workflow.Queue{Name: "q"})
	b.fill(1)
	later := func(id string) string { // the next one is not due at the same time
		kit.Until(t, "time passes", func() bool {
			return kit.One[float64](t, b.db, "SELECT extract(epoch FROM clock_timestamp()) * 1000") >= float64(b.get(id).RunAt.UnixMilli()+1)
		})
		return id
	}
	first, second := later(b.queued()), b.queued()
	in := func(priority workflow.Priority, partition string) string {
		return later(b.queued(workflow.WithQueue("q"), workflow.WithPartition(partition), workflow.WithPriority(priority)))
	}
	in(workflow.PriorityLowest, "p")
	in(workflow.PriorityNormal, "p")
	in(workflow.PriorityNormal, "other")
	queued := in(workflow.PriorityNormal, "p")
	in(workflow.PriorityHighest, "p")
	in(workflow.PriorityNormal, "p")
	for _, test := range []struct {
		id    string
		count int
		words string
	}{
		{first, 0, ": no other run of its workflow is due before it; 1 living worker is there for it, and executes 1 run now"},
		{second, 1, ": 1 run is due before it"},
		{queued, 2, `in queue "q": 2 runs are due before it`},
	} {
		got := b.why(test.id, workflow.WhyBehind)
		b.wantWhy(got, workflow.Why{
			Code: workflow.WhyBehind, Since: got.Now, Count: test.count, Workers: 1, Serving: 1, Executing: 1,
		}, test.words)
	}
}

// Workers leave alone what is for a consumer; the limits of its queue hold for that too.
func TestWhyAnnounced(t *testing.T) {
	t.Parallel()
	queue := newChannelQueue()
	b := dispatched(t, queue)
	b.worker(unchanged, hold)
	b.ensure(workflow.Queue{Name: "shut"})
	kit.Must(t, b.svc.PauseQueue(t.Context(), "shut"))
	id := b.queued()
	kit.Receive(t, "the message", queue.messages)
	var got workflow.Why
	kit.Until(t, "it is noted", func() bool { got = b.why(id, workflow.WhyAnnounced); return !got.AnnouncedAt.IsZero() })
	b.wantWhy(got, workflow.Why{
		Code: workflow.WhyAnnounced, Since: got.Now, AnnouncedAt: got.Now, Workers: 1, Serving: 1,
	}, "it is left to the consumer of the application's own queue (Service.Execute), which was last told")
	if text := fmt.Sprint(b.why(b.queued(workflow.WithQueue("shut")), workflow.WhyQueuePaused)); !containsAll(text, []string{`"shut"`}) {
		t.Error(text)
	}
}
