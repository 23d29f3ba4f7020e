package dispatchtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
)

var decided = workflow.DefineSignal[string]("decided")

// step is a workflow of one step.
func (s *stage) step() *workflow.Workflow[int, int] {
	return workflow.Define("step", func(ctx context.Context, in int) (int, error) {
		return in, s.effect(ctx, "effect")
	})
}

// asks is a workflow that waits for a signal.
func (s *stage) asks() *workflow.Workflow[int, string] {
	return workflow.Define("asks", func(ctx context.Context, _ int) (string, error) {
		if err := s.effect(ctx, "before"); err != nil {
			return "", err
		}
		answer, err := decided.Wait(ctx, 0)
		if err != nil {
			return "", err
		}
		return answer, s.effect(ctx, "after")
	})
}

// Each run is brought by its message: nothing is announced again.
func testRuns(t *testing.T, s *stage) {
	w := s.step()
	s.begin(never, w)
	var ids []string
	for n := range 20 {
		ids = append(ids, start(s, w, n))
	}
	for n := range 5 {
		id, err := s.svc.CreateRun(context.Background(), "step", n)
		s.must(err)
		ids = append(ids, id)
	}
	ids = append(ids, start(s, w, 25, workflow.WithRunID("chosen")), start(s, w, 26, workflow.WithDelay(30*time.Millisecond)))
	for _, id := range ids {
		s.once(id, "effect")
		if n := s.line.messages(id); n != 1 {
			t.Errorf("the queue was told %d times of run %q, for which once was enough", n, id)
		}
	}
}

// What a signal wakes has a message of its own.
func testSignals(_ *testing.T, s *stage) {
	w := s.asks()
	s.begin(never, w)
	id := start(s, w, 1)
	s.parked(id)
	s.must(decided.Send(context.Background(), s.svc, id, "yes"))
	s.once(id, "before")
	s.once(id, "after")

	inTx := start(s, w, 2)
	s.parked(inTx)
	tx, err := s.db.BeginTx(context.Background(), readCommitted)
	s.must(err)
	s.must(decided.Send(context.Background(), s.svc.In(tx), inTx, "yes"))
	s.must(tx.Commit())
	s.svc.Wake()
	s.once(inTx, "after")
}

// So has what waits for a time.
func testTimers(t *testing.T, s *stage) {
	failed := false
	w := workflow.Define("sleeps", func(ctx context.Context, in int) (int, error) {
		if err := workflow.Sleep(ctx, "nap", 50*time.Millisecond); err != nil {
			return 0, err
		}
		again := workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 3, FirstDelay: 50 * time.Millisecond})
		_, err := workflow.Do(ctx, "retried", func(context.Context) (bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !failed {
				failed = true
				return false, errors.New("not this time")
			}
			return true, nil
		}, again)
		if err != nil {
			return 0, err
		}
		return in, s.effect(ctx, "effect")
	})
	s.begin(never, w)
	id := start(s, w, 1)
	s.once(id, "effect")
	if n := s.times(id); n < 3 {
		t.Errorf("the consumer got %d messages of a run that began, slept and waited for another attempt", n)
	}
}

// Children are brought by their messages, and so is their parent when they have ended.
func testChildren(t *testing.T, s *stage) {
	child := s.step()
	parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) {
		if _, err := workflow.Call(ctx, "one", child, n); err != nil {
			return 0, err
		}
		results, err := workflow.CallAll(ctx, "all", child, make([]int, n))
		if err != nil {
			return 0, err
		}
		for _, r := range results {
			if r.Err != nil {
				return 0, r.Err
			}
		}
		_, err = workflow.Spawn(ctx, "spawned", child, n)
		return len(results), err
	})
	s.begin(never, child, parent)
	id := start(s, parent, 10)
	s.completed(id)
	var children []workflow.Run
	s.until("the children have ended", func() bool {
		page, err := s.svc.ListRuns(context.Background(), workflow.RunFilter{ParentID: id, Statuses: []workflow.RunStatus{workflow.RunCompleted}})
		s.must(err)
		children = page.Runs
		return len(children) == 12
	})
	for i := range children {
		s.once(children[i].ID, "effect")
	}
	if s.times(id) < 2 {
		t.Errorf("the consumer got %d messages of the parent, which waited for its children", s.times(id))
	}
}
