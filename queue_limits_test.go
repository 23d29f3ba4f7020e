package workflow_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Parents and children share a queue with a single place, because who waits holds none.
func TestFamilyInALimitedQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensure(workflow.Queue{Name: "one", MaxRunning: 1, MaxPerPartition: 1})
	inQueue := []workflow.CallOption{workflow.WithQueue("one"), workflow.WithPartition("same")}
	var running, most atomic.Int32
	leaf := workflow.Define("leaf", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "count", func(context.Context) (int, error) {
			most.Store(max(most.Load(), running.Add(1)))
			running.Add(-1)
			return n, nil
		})
	})
	middle := workflow.Define("middle", func(ctx context.Context, n int) (int, error) {
		results, err := workflow.CallAll(ctx, "leaves", leaf, []int{n, n, n}, inQueue...)
		if err != nil {
			return 0, err
		}
		return results[0].Value + results[1].Value + results[2].Value, nil
	})
	root := workflow.Define("root", func(ctx context.Context, n int) (int, error) {
		results, err := workflow.CallAll(ctx, "middles", middle, []int{n, n + 1}, inQueue...)
		if err != nil {
			return 0, err
		}
		return results[0].Value + results[1].Value, nil
	})
	for range 2 { // processes
		svc := b.service()
		svc.Register(root, middle, leaf)
		kit.Work(t, svc)
	}
	var handles []*workflow.Handle[int]
	for n := range 4 {
		handle, err := root.Start(t.Context(), b.svc, n, workflow.WithQueue("one"), workflow.WithPartition("same"))
		kit.Must(t, err)
		handles = append(handles, handle)
	}
	for n, handle := range handles {
		if got, err := handle.Result(kit.Context(t)); err != nil || got != 6*n+3 {
			t.Errorf("root %d: %d, %v", n, got, err)
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d ran at once, want 1", most.Load())
	}
}

// A limit holds over several processes, and a place that becomes free is taken; lowered, it lets those that run go on.
func TestLimitOverProcesses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensure(workflow.Queue{Name: "q", MaxRunning: 3, MaxPerWorker: 2})
	var g turnstile
	for range 2 {
		svc := b.service()
		svc.Register(g.workflow(), quick)
		kit.Work(t, svc)
	}
	w := g.workflow()
	var handles []*workflow.Handle[int]
	for n := range 8 {
		handle, err := w.Start(t.Context(), b.svc, n, workflow.WithQueue("q"))
		kit.Must(t, err)
		handles = append(handles, handle)
	}
	running := func(want int) {
		t.Helper()
		kit.Until(t, fmt.Sprint(want, " run"), func() bool { return g.running.Load() == int32(want) })
		b.others() // and while others come and go, it stays like that
		if got, state := g.running.Load(), b.queue("q"); got != int32(want) || state.Running != int64(want) {
			t.Errorf("%d run, by their rows %d; want %d", got, state.Running, want)
		}
	}
	running(3)
	g.release(1)
	kit.Until(t, "one has ended", func() bool { return g.ended.Load() == 1 })
	running(3)
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "q", MaxRunning: 1}))
	running(3)
	g.release(2)
	running(1)
	g.release(1)
	kit.Until(t, "four have ended", func() bool { return g.ended.Load() == 4 })
	running(1)
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "q", MaxPerWorker: 2}))
	running(4)
	g.release(8)
	for n, handle := range handles {
		if got, err := handle.Result(kit.Context(t)); err != nil || got != n {
			t.Errorf("run %d: %d, %v", n, got, err)
		}
	}
}

// turnstile is a workflow whose runs end when they are told to.
type turnstile struct {
	running, ended, tokens atomic.Int32
}

func (g *turnstile) release(n int32) { g.tokens.Add(n) }

func (g *turnstile) workflow() *workflow.Workflow[int, int] {
	return workflow.Define("gated", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "wait", func(ctx context.Context) (int, error) {
			g.running.Add(1)
			defer g.running.Add(-1)
			for ctx.Err() == nil {
				if left := g.tokens.Load(); left > 0 && g.tokens.CompareAndSwap(left, left-1) {
					g.ended.Add(1)
					return n, nil
				}
				kit.Pause(ctx, time.Millisecond)
			}
			return 0, ctx.Err()
		})
	})
}

// quick is a workflow of a little while.
var quick = workflow.Define("quick", func(ctx context.Context, n int) (int, error) {
	return n, workflow.Sleep(ctx, "nap", 30*time.Millisecond)
})

// others lets quick runs of another queue pass, during which all workers look for work several times.
func (b *bench) others() {
	b.t.Helper()
	b.ensure(workflow.Queue{Name: "others"})
	for n := range 3 {
		handle, err := quick.Start(b.t.Context(), b.svc, n, workflow.WithQueue("others"))
		kit.Must(b.t, err)
		_, err = handle.Result(kit.Context(b.t))
		kit.Must(b.t, err)
	}
}

// A rate bounds how often runs begin, and a new one holds from when it was set, also when the old one would have had them wait for an hour.
func TestRate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(w, quick)
	kit.Work(t, b.svc)
	start := func() *workflow.Handle[int] {
		handle, err := w.Start(t.Context(), b.svc, 1, workflow.WithQueue("q"))
		kit.Must(t, err)
		return handle
	}
	result := func(handle *workflow.Handle[int]) {
		t.Helper()
		_, err := handle.Result(kit.Context(t))
		kit.Must(t, err)
	}
	b.ensure(workflow.Queue{Name: "q", Rate: workflow.Rate{Count: 1, Per: time.Hour, Burst: 3}})
	first, second, third, fourth := start(), start(), start(), start()
	result(first)
	result(second)
	result(third)
	b.others()
	if got := b.queue("q"); got.Waiting != 1 || got.Running != 0 {
		t.Errorf("%d wait and %d run, want 1 and 0", got.Waiting, got.Running)
	}
	kit.Must(t, b.svc.SetQueue(t.Context(), workflow.Queue{Name: "q", Rate: workflow.PerSecond(20)}))
	result(fourth)
	begun, handles := time.Now(), []*workflow.Handle[int]{start(), start(), start(), start(), start()}
	for _, handle := range handles {
		result(handle)
	}
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("five runs at 20 a second took %s", took)
	}
}
