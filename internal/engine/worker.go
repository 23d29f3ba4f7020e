package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// A worker is the engine while it works: one lease at a time, and the runs that it holds under it.
type worker struct {
	engine *Engine
	store  *store.Store
	config Config
	env    *run.Env

	queues     []string // that it serves; nil: all
	lease      *lease
	ctx        context.Context // of Work
	wake       chan struct{}   // one token: look for runs without a queue now
	wakeQueues chan struct{}   // one token: look at the agenda now
	announce   chan struct{}   // one token: look for runs to announce now
	functions  sync.WaitGroup
	fleet      atomic.Int32 // living workers, as the last heartbeat saw

	mu      sync.Mutex
	open    bool // runs may start here
	slots   slots
	agenda  agenda
	claims  claimCounts
	suspect *write.Hold // at most one run is held that workers may have died of

	behind [claimKinds]bool // the marks of those that claim, perhaps: each is told once

	begun   atomic.Int64  // runs that have begun here, ever
	hearing *hearing      // what other processes have said
	alarms  *alarms       // nil without a notifier
	beat    chan struct{} // one token: a heartbeat is to come at once
}

func newWorker(e *Engine, ctx context.Context) *worker { //nolint:revive // ctx is kept: it ends with Work, and says so to runs
	w := &worker{
		engine: e, store: e.store, config: e.config, ctx: ctx, announce: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), wakeQueues: make(chan struct{}, 1), slots: newSlots(e.config.Concurrency),
		hearing: newHearing(), beat: make(chan struct{}, 1),
	}
	if e.config.Notifier != nil {
		w.alarms = newAlarms(w.ring)
	}
	w.queues, _ = servedQueues(e.config.Serve)
	w.slots.queuesOnly = !w.serves(NoQueue)
	w.env = &run.Env{
		Store: e.store, Writer: e.writer, Observer: e.observer,
		ParkAfter: e.config.ParkAfter, BlockedFor: e.config.BlockedFor, MaxSteps: e.config.MaxSteps,
		Version: e.config.Version, Draining: ctx.Done(), Release: w.release, Created: w.created, ChildEnded: w.childEnded,
		HasQueue: e.HasQueue, Due: w.due, Ended: w.ended, Dispatched: e.dispatch.children(),
	}
	return w
}

// work ends with ctx. Runs outlive it for as long as the drain lasts, so they get a context of their own.
func (w *worker) work(ctx context.Context) error {
	runs, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	w.lease = newLease(runs, w.config.Lease, w.engine.observer)
	if err := w.register(ctx); err != nil {
		if ctx.Err() != nil { // told to stop before there was anything to stop
			return nil
		}
		return err
	}
	began := write.Event{Kind: write.WorkBegan, Worker: w.lease.id(), Workflows: w.engine.known()}
	if len(began.Workflows) == 0 {
		began.Kind = write.WorkIdle
	}
	w.engine.observer.Observe(began)

	w.setOpen(true)
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var keepers sync.WaitGroup
	expiry := make(chan time.Duration, 1)
	keepers.Go(func() { newHeart(w, expiry).beat(keeping) })
	for _, d := range w.duties(expiry) {
		keepers.Go(func() { d.keep(keeping, w.engine.observer) })
	}
	if w.engine.dispatch != nil {
		keepers.Go(func() { newDispatchSweep(w).keep(keeping) })
	}
	defer w.listenToOthers(keeping, &keepers)()

	w.claimAll(ctx)
	w.drain(stop)
	stopKeeping()
	keepers.Wait() // no heartbeat takes up again what is given up now
	w.lease.settle()
	return w.signOff(ctx)
}

// claimAll claims what this worker serves, until ctx ends.
func (w *worker) claimAll(ctx context.Context) {
	var loops sync.WaitGroup
	if w.serves(NoQueue) {
		loops.Go(func() { w.claimLoop(ctx) })
	}
	if _, some := servedQueues(w.config.Serve); some {
		loops.Go(func() { w.queueLoop(ctx) })
	}
	loops.Wait()
}

// register takes the first lease. It waits for a database that is away, as the worker does for one that goes away later. One that
// refuses, for lack of a right or a table, is an error: the program has just been started, and somebody is there to read it.
func (w *worker) register(ctx context.Context) error {
	for pause := firstRegisterPause; ; pause = min(2*pause, maxRegisterPause) {
		err := w.lease.register(ctx, w.store, w.introduction())
		switch {
		case err == nil, ctx.Err() != nil, store.IsPermanent(err):
			return err
		}
		w.engine.observer.Observe(write.Event{Kind: write.WorkWaits, Op: "register worker", Err: err})
		write.Wait(ctx, nil, jittered(pause))
	}
}

const (
	firstRegisterPause = 100 * time.Millisecond
	maxRegisterPause   = 5 * time.Second
)

// introduction is what this worker tells others about itself.
func (w *worker) introduction() store.Worker {
	return store.Worker{
		Version: w.config.Version, Host: w.engine.host, PID: w.engine.pid, Workflows: w.engine.known(), Queues: w.config.Serve,
	}
}

// nudge makes an idle worker look for runs without a queue at once.
func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// nudgeSweep makes the sweep look at once for runs to announce.
func (w *worker) nudgeSweep() {
	select {
	case w.announce <- struct{}{}:
	default:
	}
}

// created says that n more runs of a queue, or without one, wait to be claimed.
func (w *worker) created(queue string, n int) {
	w.nudgeSweep()
	w.engine.tellCreated(queue)
	if queue != NoQueue {
		w.waiting(queue)
		return
	}
	w.raise(n)
}

// raise notes that so many more runs without a queue wait to be claimed.
func (w *worker) raise(n int) {
	w.mu.Lock()
	w.slots.raised += n
	w.mu.Unlock()
	w.nudge()
}

// childEnded tells a parent that is executed here; one that is parked may be claimed now.
func (w *worker) childEnded(parentID, parentStep string) {
	if parent := w.engine.holds.Run(parentID); parent != nil {
		parent.ChildEnded(parentStep)
		if w.engine.holds.Run(parentID) == parent { // else it was parked meanwhile
			return
		}
	}
	w.engine.tellOf(parentID)
	w.lookAgain()
}

// counted notes how many workers live. What one that is gone was about to claim may wait behind the marks of the others.
func (w *worker) counted(workers int) {
	workers = min(workers, 1<<20)
	if before := w.fleet.Swap(int32(workers)); int(before) <= workers { //nolint:gosec // bounded
		return
	}
	w.mu.Lock()
	w.behind = [claimKinds]bool{true, true}
	w.mu.Unlock()
	w.lookAgain()
}

// lookAgain says that runs may wait that this process does not know of.
func (w *worker) lookAgain() {
	w.mu.Lock()
	w.slots.hint()
	w.hintQueues()
	w.mu.Unlock()
	w.nudge()
	w.nudgeSweep()
}

func (w *worker) setOpen(open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = open
}

// give gives back slots that were taken for claims.
func (w *worker) give(n int) {
	if n > 0 {
		w.giveBack(func(s *slots) { s.give(n) })
	}
}

// giveStarted gives back the slot of a run that started here.
func (w *worker) giveStarted() { w.giveBack((*slots).giveStarted) }

// giveBack wakes those that claim and want a slot of those that back gives back.
func (w *worker) giveBack(back func(*slots)) {
	w.mu.Lock()
	back(&w.slots)
	wanted, queues := w.slots.wanted(), w.slots.queues
	w.mu.Unlock()
	if wanted {
		w.nudge()
	}
	if queues {
		w.nudgeQueues()
	}
}

// execute executes a run in a slot that was taken for it, which give gives back.
func (w *worker) execute(lease context.Context, hold *write.Hold, claimed store.ClaimedRun, history store.History, give func()) {
	var given atomic.Bool
	once := func() {
		if given.CompareAndSwap(false, true) {
			give()
		}
	}
	w.executeIn(lease, w.env, hold, claimed, history, once, once)
}

// executeIn executes a run, and calls left when no code of it goes on here any more. If it ends in good order, done is called first, before
// anybody is told: whoever starts another run then finds its slot free, and need not have it claimed.
func (w *worker) executeIn(
	lease context.Context, env *run.Env, hold *write.Hold, claimed store.ClaimedRun, history store.History, done, left func(),
) {
	holds := w.engine.holds
	var r *run.Run
	r = run.New(env, claimed, w.engine.body(claimed.Workflow), history, func(final *store.Run) {
		if final != nil && r.Returned() {
			done()
		}
		if final != nil {
			w.ended(final) // before its starter hears of it, who may resume the run and await it again: that is no answer to him
		}
		holds.Settle(hold, final)
		w.left(claimed.Queue)
	})
	if older := holds.Attach(hold, r.Owned(), r); older != nil {
		older.Lose(store.ErrRunLost)
	}
	w.functions.Add(1)
	w.begun.Add(1)
	w.tellClaimed(&claimed)
	go r.Execute(lease, func() {
		holds.Leave(hold)
		w.leaveSuspect(hold)
		left()
		w.functions.Done()
	})
}

// release makes a run pending again if it is still this worker's.
func (w *worker) release(owned store.Owned, queue string, delay time.Duration) {
	switch {
	case !w.handBack(owned, delay):
	case delay == 0:
		w.created(queue, 1)
	default:
		w.due(delay)
	}
}

// handBack is release without a word to whoever may claim the run, and reports whether it was this worker's. Should it fail, the run
// waits for the duty that releases what is owned and not held, or for the end of the lease.
func (w *worker) handBack(owned store.Owned, delay time.Duration) bool {
	err := w.store.ReleaseRun(context.Background(), owned, delay)
	switch {
	case err == nil:
		return true
	case !errors.Is(err, store.ErrRunLost) && !errors.Is(err, store.ErrLockTimeout):
		w.trouble("release run", err)
	}
	return false
}

func (w *worker) trouble(op string, err error) {
	w.engine.observer.Observe(write.Event{Kind: write.Trouble, Op: op, Err: err})
}

// drain waits for the runs in flight: first for the steps that they are in, for which they have Config.Drain, then for
// their functions to see that their context has ended.
func (w *worker) drain(stop context.CancelCauseFunc) {
	w.setOpen(false)
	done := make(chan struct{})
	go func() {
		w.functions.Wait()
		close(done)
	}()
	timer := time.NewTimer(w.config.Drain)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	stop(run.ErrInterrupted)
	timer.Reset(abandonAfter)
	select {
	case <-done:
	case <-timer.C:
		held, over := w.engine.holds.Count()
		w.engine.observer.Observe(write.Event{Kind: write.RunsLeftBehind, Count: int64(held + over)})
	}
}

// A function that ignores the end of its context for longer is left behind.
const abandonAfter = time.Second

// signOff hands back whatever this worker still owns and ends its lease.
func (w *worker) signOff(ctx context.Context) error {
	id := w.lease.id()
	if id == "" {
		return nil
	}
	released, err := w.store.ReleaseWorker(context.WithoutCancel(ctx), id)
	if err == nil && released > 0 {
		w.engine.tellWork()
		w.engine.observer.Observe(write.Event{Kind: write.RunHandedBack, Worker: id, Count: released})
	}
	return err
}

// jittered returns between half and one and a half of d.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }
