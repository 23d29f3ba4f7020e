package dispatchtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
)

var readCommitted = &sql.TxOptions{Isolation: sql.LevelReadCommitted}

// A run exists, and comes to the consumer, if and only if the application commits.
func testTransactions(t *testing.T, s *stage) {
	w := s.step()
	s.begin(never, w)
	in := func(end func(*sql.Tx) error) string {
		tx, err := s.db.BeginTx(context.Background(), readCommitted)
		s.must(err)
		defer func() { _ = tx.Rollback() }()
		handle, err := w.Start(context.Background(), s.svc.In(tx), 1)
		s.must(err)
		s.must(end(tx))
		s.svc.Wake()
		return handle.RunID()
	}
	undone := in((*sql.Tx).Rollback)
	for range 5 {
		s.once(in((*sql.Tx).Commit), "effect")
	}
	if _, err := s.svc.GetRun(context.Background(), undone); !errors.Is(err, workflow.ErrRunNotFound) {
		t.Errorf("the run of a transaction that was rolled back: %v, want %v", err, workflow.ErrRunNotFound)
	}
	if n := s.times(undone); n > 0 {
		t.Errorf("the consumer got %d messages of a run whose transaction was rolled back", n)
	}
}

// Nothing is stranded by messages that the queue loses: of a start, of children, of what is woken.
func testLost(_ *testing.T, s *stage) {
	s.line = newLine(s)
	s.line.loses = func(_ string, nth int) bool { return nth == 1 }
	w := s.asks()
	s.begin(soon, w)
	id := start(s, w, 1)
	s.parked(id)
	s.must(decided.Send(context.Background(), s.svc, id, "yes"))
	s.once(id, "after")
}

// Nor by a consumer that takes a message and forgets it.
func testForgotten(_ *testing.T, s *stage) {
	var mu sync.Mutex
	forgotten := make(map[string]bool)
	s.before = func(id string) error {
		mu.Lock()
		defer mu.Unlock()
		if !forgotten[id] {
			forgotten[id] = true
			return nil
		}
		return errGoOn
	}
	w := s.step()
	s.begin(soon, w)
	for n := range 5 {
		s.once(start(s, w, n), "effect")
	}
}

// Two messages of one run execute it once.
func testDoubled(_ *testing.T, s *stage) {
	s.line = newLine(s)
	s.line.doubles = true
	w, asks := s.step(), s.asks()
	s.begin(never, w, asks)
	var ids []string
	for n := range 20 {
		ids = append(ids, start(s, w, n))
	}
	asking := start(s, asks, 1)
	s.parked(asking)
	s.must(decided.Send(context.Background(), s.svc, asking, "yes"))
	for _, id := range ids {
		s.once(id, "effect")
	}
	s.once(asking, "before")
	s.once(asking, "after")
	for _, id := range ids {
		s.until("both messages have come", func() bool { return s.times(id) >= 2 })
	}
}

// A message that comes when its run has parked, has ended or was cancelled does nothing.
func testLate(t *testing.T, s *stage) {
	w := s.asks()
	s.begin(never, w)
	id, cancelled := start(s, w, 1), start(s, w, 2)
	late := func(id string) {
		t.Helper()
		before := s.times(id)
		s.must(s.queue.Dispatcher.Dispatch(context.Background(), []string{id}))
		s.until("the late message has come", func() bool { return s.times(id) > before })
	}
	s.parked(id)
	late(id)
	s.parked(id)
	s.must(decided.Send(context.Background(), s.svc, id, "yes"))
	s.once(id, "after")
	late(id)
	s.once(id, "after")

	s.parked(cancelled)
	s.must(s.svc.Cancel(context.Background(), cancelled))
	late(cancelled)
	s.ends(cancelled, workflow.RunCancelled)
	s.once(id, "before")
}

// A message of a run that is not there stands in nobody's way.
func testUnknown(_ *testing.T, s *stage) {
	w := s.step()
	s.begin(never, w)
	for n := range 10 {
		unknown := fmt.Sprintf("unknown %d", n)
		s.must(s.queue.Dispatcher.Dispatch(context.Background(), []string{unknown}))
		s.once(start(s, w, n), "effect")
		s.until("the message of the unknown run has come", func() bool { return s.times(unknown) > 0 })
	}
}

// A message that could not be acted upon comes again by itself: nothing is announced again.
func testAgain(_ *testing.T, s *stage) {
	var mu sync.Mutex
	times := make(map[string]int)
	s.before = func(id string) error {
		mu.Lock()
		defer mu.Unlock()
		if times[id]++; times[id] <= 2 {
			return fmt.Errorf("as it would be: %w", workflow.ErrQueueFull)
		}
		return errGoOn
	}
	w := s.step()
	s.begin(never, w)
	for n := range 3 {
		s.once(start(s, w, n), "effect")
	}
}

// A queue that is down fails no run. Where runs commit with their messages, none is started meanwhile, and the caller is told; else they
// are started, and announced when the queue is up.
func testDown(t *testing.T, s *stage) {
	w, asks := s.step(), s.asks()
	s.begin(never, w, asks)
	waiting := start(s, asks, 1)
	s.parked(waiting)

	s.line.goesDown()
	s.must(decided.Send(context.Background(), s.svc, waiting, "yes"))
	handle, err := w.Start(context.Background(), s.svc, 1)
	if _, inTx := s.queue.Dispatcher.(workflow.TxDispatcher); inTx {
		if !errors.Is(err, errDown) {
			t.Errorf("start while the queue is down: %v, want %v", err, errDown)
		}
	} else {
		s.must(err)
	}
	s.until("the queue has refused", func() bool { return s.line.refusals() >= 4 })
	s.line.goesUp()
	s.once(waiting, "after")
	if handle != nil {
		s.once(handle.RunID(), "effect")
	}
	s.once(start(s, w, 2), "effect")
}

// A consumer that ends hands its runs back, and what it did not come to is there for the next one.
func testConsumerEnds(t *testing.T, s *stage) {
	inside := make(chan struct{}, 1)
	w := workflow.Define("busy", func(ctx context.Context, n int) (int, error) {
		if err := s.effect(ctx, "before"); err != nil {
			return 0, err
		}
		_, err := workflow.Do(ctx, "long", func(ctx context.Context) (bool, error) {
			if s.took(workflow.RunID(ctx), "interrupted") == 0 {
				s.mu.Lock()
				s.effects[workflow.RunID(ctx)+" interrupted"]++
				s.mu.Unlock()
				inside <- struct{}{}
				<-ctx.Done()
				return false, ctx.Err()
			}
			return true, nil
		})
		if err != nil {
			return 0, err
		}
		return n, s.effect(ctx, "after")
	})
	s.begin(never, w)
	id := start(s, w, 1)
	select {
	case <-inside:
	case <-time.After(patience):
		t.Fatal("the consumer has not begun")
	}
	s.stop()
	run, err := s.svc.GetRun(context.Background(), id)
	s.must(err)
	if run.Status != workflow.RunPending {
		t.Errorf("the run of a consumer that has ended is %s, want %s", run.Status, workflow.RunPending)
	}
	s.consume()
	s.once(id, "before")
	s.once(id, "after")
}
