// Package engine executes runs: it claims them, replays what is recorded, checkpoints what is new and hands back what it
// cannot finish. It deals in bytes and rows; the types of the application stay at the root.
//
// One process has one [Engine]. While it works it is one worker: a row with a lease that heartbeats renew. A run belongs
// to the worker that claimed it, under an epoch that every change of hands raises, and each write of a run carries its
// epoch in a guard that locks the run's row. So a worker that was frozen, or cut off, can write nothing once another has
// taken over.
//
// It has three floors, and each imports only those below; the lowest has two rooms:
//
//	engine  the worker: which runs are executed here, and for how long (this package)
//	run     one run: its function, its steps, its waits
//	write   rows on their way, what is held here, who is told
//	notify  hints to other processes, and theirs
//	tick    when a schedule is due
//
// This floor:
//
//	engine.go      the engine and its worker, from outside
//	start.go       creates a run, already claimed where there is a free slot
//	send.go        sends signals to runs
//	worker.go      the life of a worker
//	slots.go       how many more runs may begin here (pure)
//	claim.go       claims runs without a queue into free slots
//	marks.go       where these claims begin to look (pure)
//	queues.go      claims runs of queues
//	agenda.go      which queue is asked for runs, and when (pure)
//	queue_marks.go where claims of queues begin to look (pure)
//	queue_names.go which queues there are
//	lease.go       the right to own runs, and its watchdog
//	heartbeat.go   renews it, and stops what was lost
//	duty.go        tasks of the fleet
//	prune.go       deletes runs that ended long ago
//	schedules.go   starts runs of schedules (its plan pure)
//	dispatch*.go   tells the application's own queue of runs
//	execute.go     executes a run that it has brought
//	notices.go     what this process tells others, and hears of them
//	hearing.go     what a worker does about it, and how soon (in part pure)
//	starting.go    what an observer is told of runs that start
//	alarms.go      looks when a run is due, while polls are rare
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/notify"
	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// Config is how a process works; the root has given each field a value.
type Config struct {
	Timeout      time.Duration // of a statement that many runs share, and of a duty
	Concurrency  int
	PollInterval time.Duration
	Lease        time.Duration
	Heartbeat    time.Duration
	Drain        time.Duration
	ParkAfter    time.Duration
	BlockedFor   time.Duration
	MaxSteps     int
	Version      string
	Serve        []string // queues whose runs are executed here, [NoQueue] for runs without one; none: all of them
	Logger       *slog.Logger
	Observer     write.Listener // of the application; nil: none
	Says         write.Says     // what a run waits for whose result has not come in time
	Dispatcher   Dispatcher     // nil: runs are claimed
	Redispatch   time.Duration  // after which a run of which nothing came is announced again

	Retention time.Duration // finished runs go that ended longer ago; 0: none

	Notifier notify.Notifier // nil: this process tells others nothing, and hears nothing
	Schema   string          // after which the channel is named
}

// ErrWorking is returned by Work while the engine works already.
var ErrWorking = errors.New("this service works already")

// minConns is what Work needs of a pool: one for the heartbeat, one for claims and writes, one for the application.
const minConns = 3

// Engine executes the runs of the workflows that are registered with it. It is safe for concurrent use.
type Engine struct {
	store    *store.Store
	config   Config
	observer *write.Observer
	holds    *write.Holds
	awaits   *write.Awaiter
	writer   *write.Writer
	signals  *write.Writer // for what is sent to runs: no row of a run is written twice in one statement
	dispatch *dispatch     // nil: there is no dispatcher
	tell     *notify.Sender
	ears     *notify.Listener
	host     string
	pid      int

	exist queueNames

	mu     sync.Mutex
	bodies map[string]run.Body
	worker *worker // while Work runs
	stop   context.CancelFunc
	works  sync.WaitGroup
	closed error
}

// New returns an engine that does nothing yet.
func New(st *store.Store, config Config) *Engine {
	holds := write.NewHolds()
	host, err := os.Hostname()
	if err != nil { // it is only shown
		host = ""
	}
	observer := write.NewObserver(config.Logger, config.Observer)
	e := &Engine{
		store: st, config: config, observer: observer, dispatch: newDispatch(st, config, observer),
		holds: holds, writer: write.NewWriter(st, config.Timeout),
		signals: write.NewWriter(st, config.Timeout),
		host:    host, pid: os.Getpid(), bodies: make(map[string]run.Body), stop: func() {},
	}
	e.joinOthers(config.Notifier, config.Schema)
	e.awaits = write.NewAwaiter(st, holds, e.ears, config.Says)
	return e
}

// Register binds a workflow's name to its body and reports whether the name was free.
func (e *Engine) Register(name string, body run.Body) bool {
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
		return fmt.Errorf("workflow: work: the pool is bounded to %d of the %d connections that it takes: call SetMaxOpenConns", most, minConns)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := newWorker(e, ctx)
	if err := e.begin(w, stop); err != nil {
		return fmt.Errorf("workflow: work: %w", err)
	}
	defer e.end()
	return w.work(ctx) // the store's errors name their room
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

// Wake tells a worker of this process, and those of others, that there is something to claim, in whatever queue or without one.
func (e *Engine) Wake() {
	e.tell.Tell(notify.Message{Work: true, Queues: true, News: true})
	if w := e.working(); w != nil {
		w.raise(1)
		w.lookAtQueues()
		w.nudgeSweep()
	}
}

// Created tells a worker of this process, and those of others, that a run of a workflow waits to be claimed in a queue, or without
// one.
func (e *Engine) Created(queue, workflow string) {
	w := e.working()
	if w == nil || queue != NoQueue && e.body(workflow) == nil {
		e.tellCreated(queue)
		return
	}
	w.created(queue, 1)
}

// Woken tells a run that something has come for it, if this process executes it, and else other processes, and a worker of this one
// that it may be claimed.
func (e *Engine) Woken(runID string) {
	if run := e.holds.Run(runID); run != nil {
		run.Woken()
		if e.holds.Run(runID) == run { // else it was parked meanwhile
			return
		}
	}
	e.tellOf(runID)
	if w := e.working(); w != nil {
		w.lookAgain()
	}
}

// Cancelled stops the run here if this process executes it; another one learns of it with its next heartbeat, if it is not told.
func (e *Engine) Cancelled(runID string) {
	e.heardHere(runID)
	e.observer.Observe(write.Event{Kind: write.RunCancelled, RunID: runID})
	e.tell.Tell(notify.Message{Lost: []string{runID}})
	e.holds.Lose(store.Owned{RunID: runID}, store.ErrRunLost)
}

// InFlight returns how many runs this process executes, and how many functions go on although their run is over here: each takes
// a slot.
func (e *Engine) InFlight() (runs, over int) { return e.holds.Count() }

// LastTrouble returns the newest trouble of this process's worker that no caller was told about.
func (e *Engine) LastTrouble() write.LastTrouble { return e.observer.LastTrouble() }

func (e *Engine) working() *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.worker
}

// Await returns the run once it is finished, wherever it is executed; store.ErrRunNotFound when there is none. The hold is
// what Start returned, if it was started here.
func (e *Engine) Await(ctx context.Context, runID string, hold *write.Hold) (store.Run, error) {
	return e.awaits.Await(ctx, runID, hold)
}

// AwaitRow is Await for a caller to whom the row as the database has it matters, even if this process knows the end.
func (e *Engine) AwaitRow(ctx context.Context, runID string) (store.Run, error) {
	return e.awaits.AwaitRow(ctx, runID)
}

// Close ends Work as the end of its context does, and the waiting of every Await with err.
func (e *Engine) Close(err error) {
	e.mu.Lock()
	e.closed = err
	e.stop()
	e.mu.Unlock()
	e.works.Wait()
	e.awaits.Close(err)
	e.writer.Close()
	e.signals.Close()
	e.tell.Close()
	e.ears.Close()
	e.observer.Settle(settleObserver)
}

// settleObserver is how long Close lets the application's observer be told of what has happened.
const settleObserver = time.Second

func (e *Engine) known() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := make([]string, 0, len(e.bodies))
	for name := range e.bodies {
		names = append(names, name)
	}
	return names
}

func (e *Engine) body(workflow string) run.Body {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bodies[workflow]
}
