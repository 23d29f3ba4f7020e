package dispatchtest

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A stage is a database, a queue with faults, a service that works and a consumer.
type stage struct {
	t     *testing.T
	db    *sql.DB
	queue Queue
	svc   *workflow.Service
	line  *line
	stop  func() // the consumer

	// before is called before each execution; what it returns is returned instead, unless it is errGoOn.
	before func(runID string) error

	mu       sync.Mutex
	executed map[string]int // by run: how often the consumer executed it
	effects  map[string]int // by run and step
}

// errGoOn is no error: the run is executed.
var errGoOn = errors.New("go on")

// patience bounds whatever must happen; never is an interval that no test lives to see the end of.
const (
	patience = time.Minute
	never    = time.Hour
	soon     = 200 * time.Millisecond
)

// begin makes a service that announces anew after a while, and lets it and the consumer work. The faults are set before.
func (s *stage) begin(again time.Duration, workflows ...workflow.Definition) {
	s.t.Helper()
	if s.line == nil {
		s.line = newLine(s)
	}
	if s.before == nil {
		s.before = func(string) error { return errGoOn }
	}
	svc, err := workflow.New(workflow.Config{
		DB: s.db, Dispatcher: s.line.dispatcher(), RedispatchAfter: again,
		PollInterval: 20 * time.Millisecond, ParkAfter: time.Millisecond, Drain: 50 * time.Millisecond,
	})
	s.must(err)
	s.t.Cleanup(func() {
		if err := svc.Close(); err != nil {
			s.t.Error(err)
		}
	})
	s.must(svc.Init(context.Background()))
	svc.Register(workflows...)
	s.svc = svc

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- svc.Work(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("work: %v", err)
		}
	})
	s.consume()
	s.t.Cleanup(func() { s.stop() })
}

// consume begins a consumer.
func (s *stage) consume() {
	s.t.Helper()
	stop, err := s.queue.Consume(s.execute)
	s.must(err)
	s.stop = sync.OnceFunc(stop)
}

func (s *stage) execute(ctx context.Context, runID string) error {
	s.mu.Lock()
	s.executed[runID]++
	s.mu.Unlock()
	if err := s.before(runID); !errors.Is(err, errGoOn) {
		return err
	}
	err := s.svc.Execute(ctx, runID)
	if err != nil && !errors.Is(err, workflow.ErrNotWorking) && !errors.Is(err, workflow.ErrRunNotFound) && ctx.Err() == nil {
		s.t.Errorf("execute %q: %v", runID, err)
	}
	return err
}

// times returns how often the consumer executed a run.
func (s *stage) times(runID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.executed[runID]
}

// effect is a step that counts how often it took effect.
func (s *stage) effect(ctx context.Context, step string) error {
	_, err := workflow.Do(ctx, step, func(ctx context.Context) (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.effects[workflow.RunID(ctx)+" "+step]++
		return true, nil
	})
	return err
}

// took returns how often a step of a run took effect.
func (s *stage) took(runID, step string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.effects[runID+" "+step]
}

// once checks that a run has completed, by the consumer, and that its step took effect once.
func (s *stage) once(runID, step string) {
	s.t.Helper()
	s.completed(runID)
	if n := s.took(runID, step); n != 1 {
		s.t.Errorf("step %q of run %q took effect %d times", step, runID, n)
	}
	if s.times(runID) == 0 {
		s.t.Errorf("run %q was executed, and the consumer knows nothing of it", runID)
	}
}

// completed waits until a run has completed.
func (s *stage) completed(runID string) {
	s.t.Helper()
	s.ends(runID, workflow.RunCompleted)
}

func (s *stage) ends(runID string, as workflow.RunStatus) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	run, err := s.svc.AwaitRun(ctx, runID)
	if err != nil {
		s.t.Fatalf("run %q is stranded: %v; the consumer got %d messages of it", runID, err, s.times(runID))
	}
	if run.Status != as {
		s.t.Fatalf("run %q is %s (%v), want %s", runID, run.Status, run.Err, as)
	}
}

// parked waits until a run is suspended.
func (s *stage) parked(runID string) {
	s.t.Helper()
	s.until("run "+runID+" waits", func() bool {
		run, err := s.svc.GetRun(context.Background(), runID)
		s.must(err)
		return run.Status == workflow.RunSuspended
	})
}

func (s *stage) until(what string, happened func() bool) {
	s.t.Helper()
	late, tick := time.After(patience), time.NewTicker(3*time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// start starts a run.
func start[In, Out any](s *stage, w *workflow.Workflow[In, Out], in In, options ...workflow.StartOption) string {
	s.t.Helper()
	handle, err := w.Start(context.Background(), s.svc, in, options...)
	s.must(err)
	return handle.RunID()
}
