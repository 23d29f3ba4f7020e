package workflow_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A process executes runs of the queues that its Config names, and runs without a queue if it names those too or nothing.
func TestServe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, name := range []string{"a", "b", "c"} {
		b.ensure(workflow.Queue{Name: name})
	}
	who := workflow.Define[string, string]("who", nil)
	process := func(name string, serve ...string) (stop func()) {
		svc := b.service(func(c *workflow.Config) { c.Serve = serve })
		svc.Register(workflow.Define("who", func(context.Context, string) (string, error) { return name, nil }))
		return kit.Work(t, svc)
	}
	start := func(queue string) *workflow.Handle[string] {
		var options []workflow.StartOption
		if queue != workflow.NoQueue {
			options = append(options, workflow.WithQueue(queue))
		}
		handle, err := who.Start(t.Context(), b.svc, queue, options...)
		kit.Must(t, err)
		return handle
	}
	process("one", "a")
	process("two", "b", workflow.NoQueue)
	unserved := start("c")
	for range 5 {
		for queue, want := range map[string]string{"a": "one", "b": "two", workflow.NoQueue: "two"} {
			ends(t, start(queue), want)
		}
	}
	if got := b.queue("c"); got.Waiting != 1 || got.Running != 0 {
		t.Errorf("of the queue that nobody serves %d run and %d wait, want 0 and 1", got.Running, got.Waiting)
	}
	stop := process("all")
	ends(t, unserved, "all")
	stop()

	served := kit.Column[string](t, b.db, `
		SELECT coalesce(queues::text, 'all') FROM workflows.workflow_workers
		WHERE expires_at > extract(epoch FROM clock_timestamp()) * 1000 ORDER BY 1`)
	if diff := cmp.Diff([]string{`{a}`, `{b,""}`}, served); diff != "" {
		t.Errorf("what the workers say that they serve (-want +got):\n%s", diff)
	}
}

// A process that serves queues alone starts no run without one at once, although it has a free slot.
func TestServeQueuesAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensure(workflow.Queue{Name: "a"})
	b.svc = b.service(func(c *workflow.Config) { c.Serve = []string{"a"} })
	w := workflow.Define("w", func(_ context.Context, n int) (string, error) { return fmt.Sprint("here ", n), nil })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	plain, err := w.Start(t.Context(), b.svc, 1)
	kit.Must(t, err)
	for n := range 5 {
		handle, err := w.Start(t.Context(), b.svc, n, workflow.WithQueue("a"))
		kit.Must(t, err)
		ends(t, handle, fmt.Sprint("here ", n))
	}
	if run := b.get(plain.RunID()); run.Status != workflow.RunPending {
		t.Errorf("the run without a queue is %s", run.Status)
	}
}
