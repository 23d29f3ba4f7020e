// Package engine executes runs: it claims them, replays what is recorded, checkpoints what is new and hands back what it
// cannot finish. It deals in bytes and rows; the types of the application stay at the root.
//
// One process has one [Engine]. While it works it is one worker: a row with a lease that heartbeats renew. A run belongs
// to the worker that claimed it, under an epoch that every change of hands raises, and each write of a run carries its
// epoch in a guard that locks the run's row. So a worker that was frozen, or cut off, can write nothing once another has
// taken over.
//
//	worker.go  claims runs into free slots
//	lease.go   keeps the worker's row alive and stops what was lost
//	run.go     executes one run from its recorded steps to its end
//	scope.go   gives each step its key
//	step.go    one step: recorded, or attempted and checkpointed
//	retry.go   what becomes of a failed attempt
//	sleep.go   waits in process, or parks the run
//	start.go   creates a run, already claimed where there is a free slot
//	writer.go  sends what all runs write, many rows in a statement
//	await.go   tells callers how a run ended
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Body is a workflow's function on encoded values.
type Body func(ctx context.Context, input json.RawMessage) (json.RawMessage, error)

// Config is how a process works; the root has given each field a value.
type Config struct {
	Timeout      time.Duration // of a statement that many runs share
	Concurrency  int
	PollInterval time.Duration
	Lease        time.Duration
	Heartbeat    time.Duration
	Drain        time.Duration
	ParkAfter    time.Duration
	MaxSteps     int
	Logger       *slog.Logger
}

// ErrWorking is returned by Work while the engine works already.
var ErrWorking = errors.New("this service works already")

// minConns is what Work needs of a pool: one for the heartbeat, one for claims and writes, one for the application.
const minConns = 3

// Engine executes the runs of the workflows that are registered with it. It is safe for concurrent use.
type Engine struct {
	store  *store.Store
	config Config
	awaits *awaiter
	writer *writer

	mu     sync.Mutex
	bodies map[string]Body
	worker *worker // while Work runs
	stop   context.CancelFunc
	works  sync.WaitGroup
	closed error
}

// New returns an engine that does nothing yet.
func New(st *store.Store, config Config) *Engine {
	return &Engine{
		store: st, config: config, awaits: newAwaiter(st), writer: newWriter(st, config.Timeout),
		bodies: make(map[string]Body), stop: func() {},
	}
}

// Register binds a workflow's name to its body and reports whether the name was free.
func (e *Engine) Register(name string, body Body) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, taken := e.bodies[name]; taken {
		return false
	}
	e.bodies[name] = body
	return true
}

// Work claims and executes runs until ctx ends; then it lets steps finish for Config.Drain, hands back what is left and
// returns nil.
func (e *Engine) Work(ctx context.Context) error {
	if most := e.store.MaxOpen(); most > 0 && most < minConns {
		return fmt.Errorf("the pool is bounded to %d connections: call SetMaxOpenConns with at least %d", most, minConns)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := newWorker(e)
	if err := e.begin(w, stop); err != nil {
		return err
	}
	defer e.end()
	return w.work(ctx)
}

func (e *Engine) begin(w *worker, stop context.CancelFunc) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed != nil:
		return e.closed
	case e.worker != nil:
		return ErrWorking
	}
	e.worker, e.stop = w, stop
	e.works.Add(1)
	return nil
}

func (e *Engine) end() {
	e.mu.Lock()
	e.worker, e.stop = nil, func() {}
	e.mu.Unlock()
	e.works.Done()
}

// Created tells a worker of this process that there is something to claim.
func (e *Engine) Created() {
	if w := e.working(); w != nil {
		w.created()
	}
}

// Cancelled stops the run here if this process executes it; others learn of it with their next heartbeat.
func (e *Engine) Cancelled(runID string) {
	if w := e.working(); w != nil {
		w.lost(runID)
	}
}

// InFlight returns how many runs this process executes.
func (e *Engine) InFlight() int {
	if w := e.working(); w != nil {
		return w.inFlight()
	}
	return 0
}

func (e *Engine) working() *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.worker
}

// Await returns the run once it is finished, wherever it is executed; store.ErrRunNotFound when there is none. The watch is
// what Start returned, if it was started here.
func (e *Engine) Await(ctx context.Context, runID string, watch *Watch) (store.Run, error) {
	return e.awaits.await(ctx, runID, watch)
}

// Close ends Work as the end of its context does, and the waiting of every Await with err.
func (e *Engine) Close(err error) {
	e.mu.Lock()
	e.closed = err
	e.stop()
	e.mu.Unlock()
	e.works.Wait()
	e.awaits.close(err)
	e.writer.close()
}

func (e *Engine) known() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := make([]string, 0, len(e.bodies))
	for name := range e.bodies { // in no order, which is what makes claims fair between workflows
		names = append(names, name)
	}
	return names
}

func (e *Engine) body(workflow string) Body {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bodies[workflow]
}
