package workflow_test

import (
	"context"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// textTracer is a tracer whose spans are texts: a run's and a step's key.
type textTracer struct {
	watcher
	mu    sync.Mutex
	ended map[string][]workflow.EventKind // by span
}

type spanKey struct{}

func spanOf(ctx context.Context) string {
	span, _ := ctx.Value(spanKey{}).(string)
	return span
}

func (s *textTracer) Inject(ctx context.Context, started workflow.Event) map[string]string {
	if span := spanOf(ctx); span != "" {
		return map[string]string{"span": span, "of": started.Workflow}
	}
	return nil
}

func (s *textTracer) Begin(ctx context.Context, e workflow.Event) (context.Context, func(workflow.Event)) {
	span := e.Trace["span"] + "/" + e.Workflow
	if e.Kind == workflow.EventStepStarted {
		span = spanOf(ctx) + "/" + e.Step
	}
	return context.WithValue(ctx, spanKey{}, span), func(ended workflow.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ended == nil {
			s.ended = make(map[string][]workflow.EventKind)
		}
		s.ended[span] = append(s.ended[span], ended.Kind)
	}
}

func (s *textTracer) all() map[string][]workflow.EventKind {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ended)
}

// What has started a run is known where its functions are called: after a park, by another worker, and in the runs that it calls, also when
// a process without a tracer has called them. Every function's context stands below that of what called it, and each is told its end once.
func TestTracerKnowsWhoStarted(t *testing.T) {
	t.Parallel()
	b, tracer := setup(t), new(textTracer)
	saw := make(chan string, 100)
	look := func(ctx context.Context, name string) error {
		saw <- spanOf(ctx)
		_, err := workflow.Do(ctx, name, func(ctx context.Context) (int, error) {
			saw <- spanOf(ctx)
			return 1, nil
		})
		return err
	}
	proceed := workflow.DefineSignal[int]("proceed")
	child := workflow.Define("child", func(ctx context.Context, _ int) (int, error) { return 1, look(ctx, "inner") })
	parent := workflow.Define("parent", func(ctx context.Context, _ int) (int, error) {
		if err := look(ctx, "outer"); err != nil {
			return 0, err
		}
		if _, err := proceed.Wait(ctx, time.Hour); err != nil {
			return 0, err
		}
		return workflow.Call(ctx, "call", child, 1)
	})
	first := b.watched(tracer)
	first.Register(parent)
	ctx, stop := context.WithCancel(t.Context())
	working := kit.Go(t, func() error { return first.Work(ctx) })
	handle, err := parent.Start(context.WithValue(t.Context(), spanKey{}, "request"), first, 1)
	kit.Must(t, err)
	tracer.await(t, handle.RunID(), workflow.EventRunParked)
	stop()
	kit.Must(t, kit.Receive(t, "the end of work", working))

	plain := b.service() // calls the child, and traces nothing
	plain.Register(parent)
	kit.Work(t, plain)
	kit.Must(t, proceed.Send(t.Context(), plain, handle.RunID(), 1))
	childRun := ""
	kit.Until(t, "the call", func() bool {
		runs, err := plain.ListRuns(t.Context(), workflow.RunFilter{ParentID: handle.RunID()})
		kit.Must(t, err)
		for _, run := range runs.Runs {
			childRun = run.ID
		}
		return childRun != ""
	})
	second := b.watched(tracer)
	second.Register(child)
	kit.Work(t, second)
	_, err = handle.Result(t.Context())
	kit.Must(t, err)
	tracer.await(t, childRun, workflow.EventRunCompleted)

	want := map[string][]workflow.EventKind{
		"request/parent":       {workflow.EventRunParked},
		"request/parent/outer": {workflow.EventStepSucceeded},
		"request/child":        {workflow.EventRunCompleted},
		"request/child/inner":  {workflow.EventStepSucceeded},
	}
	kit.Until(t, "the ends", func() bool { return len(tracer.all()) >= len(want) })
	if diff := cmp.Diff(want, tracer.all()); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	var seen []string
	for len(saw) > 0 {
		if span := <-saw; span != "" { // else it was called where nobody traces
			seen = append(seen, span)
		}
	}
	if diff := cmp.Diff([]string{"request/parent", "request/parent/outer", "request/child", "request/child/inner"}, seen); diff != "" {
		t.Errorf("contexts (-want +got):\n%s", diff)
	}
}

// With a tracer in both processes a called run stands below the one that calls it.
func TestTracerOfACall(t *testing.T) {
	t.Parallel()
	b, tracer := setup(t), new(textTracer)
	child := workflow.Define("child", func(ctx context.Context, _ int) (string, error) { return spanOf(ctx), nil })
	parent := workflow.Define("parent", func(ctx context.Context, _ int) (string, error) { return workflow.Call(ctx, "call", child, 1) })
	svc := b.watched(tracer)
	svc.Register(child, parent)
	kit.Work(t, svc)
	for range 2 { // the second one is not claimed: the worker works by then, and its slots are free
		handle, err := parent.Start(context.WithValue(t.Context(), spanKey{}, "request"), svc, 1)
		kit.Must(t, err)
		if got, err := handle.Result(t.Context()); err != nil || got != "request/parent/child" {
			t.Errorf("the child's context: %q, %v", got, err)
		}
	}
}

// In whatever way a run is started, what is stored is what the tracer has said, and nothing if it says nothing, or there is none.
func TestTraceIsStored(t *testing.T) {
	t.Parallel()
	b, tracer := setup(t), new(textTracer)
	order := workflow.Define("order", func(_ context.Context, n int) (int, error) { return n, nil })
	traced := b.watched(tracer)
	kit.Must(t, order.SetSchedule(t.Context(), traced, workflow.Schedule{Name: "hourly", Every: time.Hour}, 1))
	inside := context.WithValue(t.Context(), spanKey{}, "request")
	started := func(ctx context.Context, on workflow.Session, options ...workflow.StartOption) string {
		handle, err := order.Start(ctx, on, 1, options...)
		kit.Must(t, err)
		return handle.RunID()
	}
	for name, test := range map[string]struct {
		start func(ctx context.Context, svc *workflow.Service) string
		of    string
	}{
		"started": {func(ctx context.Context, svc *workflow.Service) string { return started(ctx, svc) }, "order"},
		"with an id": {func(ctx context.Context, svc *workflow.Service) string {
			return started(ctx, svc, workflow.WithRunID("id "+spanOf(ctx)))
		}, "order"},
		"in a transaction": {func(ctx context.Context, svc *workflow.Service) string {
			tx := kit.Begin(t, b.db)
			id := started(ctx, svc.In(tx))
			kit.Must(t, tx.Commit())
			return id
		}, "order"},
		"created": {func(ctx context.Context, svc *workflow.Service) string {
			id, err := svc.CreateRun(ctx, "order", 1)
			kit.Must(t, err)
			return id
		}, "order"},
		"triggered": {func(ctx context.Context, svc *workflow.Service) string {
			kit.Exec(t, b.db, "UPDATE workflows.workflow_runs SET status = 'cancelled' WHERE id LIKE 'hourly/%'")
			id, err := svc.TriggerSchedule(ctx, "hourly")
			kit.Must(t, err)
			return id
		}, ""},
	} {
		meta := func(ctx context.Context, svc *workflow.Service) string {
			return kit.One[string](t, b.db, "SELECT coalesce(meta::text, '') FROM workflows.workflow_runs WHERE id = $1", test.start(ctx, svc))
		}
		if got, want := meta(inside, traced), `{"trace": {"of": "`+test.of+`", "span": "request"}}`; got != want {
			t.Errorf("%s: stored %q, want %q", name, got, want)
		}
		if got := meta(t.Context(), traced); got != "" {
			t.Errorf("%s: stored %q, though the tracer has said nothing", name, got)
		}
		if got := meta(context.WithValue(t.Context(), spanKey{}, "other"), b.svc); got != "" {
			t.Errorf("%s: stored %q, without a tracer", name, got)
		}
	}
}

// rogue is an observer that does harm at every occasion.
type rogue struct{ harm func() }

func (r rogue) Observe(workflow.Event) { r.harm() }

func (r rogue) Inject(context.Context, workflow.Event) map[string]string {
	r.harm()
	return nil
}

func (r rogue) Begin(ctx context.Context, _ workflow.Event) (context.Context, func(workflow.Event)) {
	r.harm()
	return ctx, func(workflow.Event) { r.harm() }
}

// An observer that panics, ends its goroutine or hangs costs neither a run nor the worker; the log says so.
func TestObserverDoesNoHarm(t *testing.T) {
	t.Parallel()
	leave := make(chan struct{})
	t.Cleanup(func() { close(leave) })
	for name, harm := range map[string]func(){
		"panics": func() { panic("no") },
		"exits":  runtime.Goexit,
		"hangs":  func() { <-leave },
	} {
		t.Run(name, func(t *testing.T) {
			b, log := setup(t), new(lockedBuffer)
			svc := b.watched(rogue{harm}, func(c *workflow.Config) {
				c.Concurrency = 4
				c.Logger = slog.New(slog.NewTextHandler(log, nil))
			})
			two := twoSteps(b.db, noHold, untold)
			svc.Register(two)
			kit.Work(t, svc)
			for range 8 {
				handle, err := two.Start(t.Context(), svc, "in")
				kit.Must(t, err)
				if _, err := handle.Result(kit.Context(t)); err != nil {
					t.Fatal(err)
				}
				if got := b.effects(handle.RunID()); len(got["first"]) != 1 || len(got["second"]) != 1 {
					t.Errorf("effects: %v", got)
				}
			}
			if !strings.Contains(log.String(), "the observer panics, or does not keep up") {
				t.Errorf("the log does not say so:\n%s", log.String())
			}
		})
	}
}

// Close lets the observer be told what has happened, for a second: no longer, if it does not come to an end.
func TestCloseWaitsForTheObserver(t *testing.T) {
	t.Parallel()
	b, leave := setup(t), make(chan struct{})
	t.Cleanup(func() { close(leave) })
	svc := b.watched(slow{leave})
	_, err := svc.CreateRun(t.Context(), "w", 1)
	kit.Must(t, err)
	began := time.Now()
	kit.Must(t, svc.Close())
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("it has waited for %s", waited)
	}
}

type slow struct{ leave chan struct{} }

func (s slow) Observe(workflow.Event) { <-s.leave }
