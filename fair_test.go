package workflow_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A workflow with a long backlog does not keep the runs of another one waiting until it is done.
func TestBacklogIsSharedFairly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(func(c *workflow.Config) { c.Concurrency = 2 })
	step := func(ctx context.Context, n int) (int, error) { return workflow.Do(ctx, "s", value(n)) }
	crowd, single := workflow.Define("crowd", step), workflow.Define("single", step)
	svc.Register(crowd, single)
	const backlog = 300
	for n := range backlog {
		if _, err := crowd.Start(t.Context(), svc, n); err != nil {
			t.Fatal(err)
		}
	}
	handle, err := single.Start(t.Context(), svc, 1)
	if err != nil {
		t.Fatal(err)
	}
	kit.Work(t, svc)
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Fatal(err)
	}
	done := b.get(handle.RunID()).UpdatedAt
	var before int
	err = b.db.QueryRow(`SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'crowd' AND status = 'completed' AND updated_at < $1`,
		done.UnixMilli()).Scan(&before)
	if err != nil {
		t.Fatal(err)
	}
	if before > backlog/2 { // with half of the claims by chance: never, if it is fair
		t.Errorf("%d of %d runs of the crowd went first", before, backlog)
	}
}

// A line of the body is logged once, however often the body is called; a step's line carries step and attempt.
func TestLoggerIsSilentWhileReplaying(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var log lockedBuffer
	svc := b.service(parking, func(c *workflow.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	w := workflow.Define("logged", func(ctx context.Context, _ int) (int, error) {
		logger := workflow.Logger(ctx)
		logger.Info("begins")
		if _, err := workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
			workflow.Logger(ctx).Info("inside")
			return 1, nil
		}); err != nil {
			return 0, err
		}
		logger.Info("sleeps")
		if err := workflow.Sleep(ctx, "nap", 300*time.Millisecond); err != nil {
			return 0, err
		}
		logger.Info("ends")
		return 1, nil
	})
	svc.Register(w)
	kit.Work(t, svc)
	handle, err := w.Start(t.Context(), svc, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handle.Result(kit.Context(t)); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	run := fmt.Sprintf("run_id=%s workflow=logged", handle.RunID())
	for _, want := range []string{"msg=begins " + run, "msg=inside " + run + " step=s attempt=1", "msg=sleeps " + run, "msg=ends " + run} {
		if n := strings.Count(text, want); n != 1 {
			t.Errorf("%q was logged %d times, want once:\n%s", want, n, text)
		}
	}
}

// lockedBuffer is written by a worker and read by a test.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}
