package engine

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// A worker is the engine while it works: one lease at a time, and the runs that it holds under it.
type worker struct {
	engine *Engine
	store  *store.Store
	config Config
	log    *slog.Logger

	lease *lease
	wake  chan struct{} // one token: look for runs now
	runs  sync.WaitGroup

	mu       sync.Mutex
	open     bool            // runs may start here
	free     int             // slots
	held     map[string]*run // what is in flight
	starting map[string]bool // runs whose insert, already claimed, is under way
	demand   demand
	claims   claims
	patience map[string]time.Duration
}

// claims counts the claims that were sent, and those of which all that they brought is held. One is sent after another.
type claims struct{ sent, done int }

// demand is what is known of runs that wait to be claimed. A run that starts here takes a slot only if there is one for each
// of them too.
type demand struct {
	raised, met int  // runs that became claimable here, and those of them that claims have met
	more        bool // others may wait, how many nobody knows
	look        bool // the next claim is to find out
}

func (d demand) due() int { return d.raised - d.met }

const claimBatch = 50

func newWorker(e *Engine) *worker {
	return &worker{
		engine: e, store: e.store, config: e.config, log: e.config.Logger,
		wake: make(chan struct{}, 1), free: e.config.Concurrency,
		demand: demand{more: true}, // before the first claim nobody knows what waits
		held:   make(map[string]*run), starting: make(map[string]bool), patience: make(map[string]time.Duration),
	}
}

// nudge makes an idle worker look for runs at once.
func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// work ends with ctx. Runs outlive it for as long as the drain lasts, so they get a context of their own.
func (w *worker) work(ctx context.Context) error {
	runs, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	w.lease = newLease(runs, ctx.Done(), w)
	if err := w.lease.register(ctx, w.store); err != nil {
		if ctx.Err() != nil { // told to stop before there was anything to stop
			return nil
		}
		return err
	}

	w.setOpen(true)
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { w.lease.keep(keeping) })

	w.claimLoop(ctx)
	w.drain(stop)
	stopKeeping()
	keeper.Wait() // no heartbeat takes up again what is given up now
	return w.release(ctx)
}

// created says that a run waits to be claimed.
func (w *worker) created() {
	w.mu.Lock()
	w.demand.raised++
	w.mu.Unlock()
	w.nudge()
}

// tookOver says that runs of others may wait.
func (w *worker) tookOver() {
	w.mu.Lock()
	w.demand.more = true
	w.mu.Unlock()
	w.nudge()
}

func (w *worker) setOpen(open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = open
}

// claimLoop claims what it knows to wait as soon as there are slots, and looks for what it does not know of once in a pause.
func (w *worker) claimLoop(ctx context.Context) {
	pause, look := w.config.PollInterval, time.Now()
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(look) {
			look = now.Add(jittered(pause))
			w.look()
		}
		slots := w.takeSlots()
		if slots == 0 {
			wait(ctx, w.wake, time.Until(look))
			continue
		}
		err := w.fill(ctx, slots)
		if err == nil {
			pause = w.config.PollInterval
			continue
		}
		if ctx.Err() == nil && !errors.Is(err, errCannotClaim) {
			w.log.Warn("claim", "error", err)
			pause = min(2*pause, 20*w.config.PollInterval)
		}
		wait(ctx, nil, jittered(pause))
	}
}

// jittered returns between half and one and a half of d.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// look makes the next claim one for runs that nobody knows of.
func (w *worker) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.demand.look = true
}

// takeSlots takes free slots for a claim: for the runs that are known to wait, and for all that may wait when the worker
// looks for them, or has seen that there are many.
func (w *worker) takeSlots() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := &w.demand
	wanted := d.due()
	if d.look || d.more {
		wanted = claimBatch
	}
	slots := min(w.free, wanted, claimBatch)
	if d.look && slots == 0 {
		d.more = true // perhaps: what comes free next is for them
	}
	d.look = false
	w.free -= slots
	return slots
}

// errCannotClaim is a worker without a lease, or without a workflow.
var errCannotClaim = errors.New("cannot claim")

// fill claims runs into slots that were taken for them, starts them, and gives back the slots that are left.
func (w *worker) fill(ctx context.Context, slots int) error {
	var claimed []store.ClaimedRun
	defer func() { w.returnSlots(slots - len(claimed)) }()
	lease, id := w.lease.current()
	names := w.engine.known()
	if id == "" || len(names) == 0 {
		return errCannotClaim
	}
	known := w.claiming()
	defer w.claimed()
	// Not cut short by the end of ctx: a claim whose answer is not heard is one that nobody hands back.
	found, err := w.store.Claim(context.WithoutCancel(ctx), id, names, slots)
	if err != nil {
		return err
	}
	w.meet(known, slots, len(found))
	if len(found) == 0 {
		return nil
	}

	steps, err := w.load(context.WithoutCancel(ctx), found)
	if err != nil {
		for _, c := range found {
			w.giveBack(store.Owned{RunID: c.ID, Epoch: c.Epoch})
		}
		return err
	}
	claimed = found
	for _, c := range claimed {
		w.start(lease, newRun(w, c, steps[c.ID]))
	}
	return nil
}

// load reads the steps of claimed runs. It is a later statement than the claim, which sees what owners before have written.
// Claimed is claimed: if this fails, the runs are still this worker's to hand back.
func (w *worker) load(ctx context.Context, claimed []store.ClaimedRun) (map[string][]store.Step, error) {
	var begun []string
	for _, c := range claimed {
		if c.Begun {
			begun = append(begun, c.ID)
		}
	}
	if begun == nil {
		return nil, nil
	}
	return w.store.LoadSteps(ctx, begun)
}

// returnSlots gives back what the claim loop took and did not need.
func (w *worker) returnSlots(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free += n
}

// freeSlot gives back the slot of a run.
func (w *worker) freeSlot() {
	w.mu.Lock()
	w.free++
	wanted := w.demand.more || w.demand.due() > 0
	w.mu.Unlock()
	if wanted {
		w.nudge()
	}
}

// claiming counts a claim that is sent, and returns what is known to wait before.
func (w *worker) claiming() demand {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims.sent++
	return w.demand
}

func (w *worker) claimed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims.done++
}

// meet notes what a claim has brought. With a slot left over, nobody waits but who came since; with none, and more slots
// than runs were known to wait, more may.
func (w *worker) meet(known demand, slots, found int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found < slots {
		w.demand.met, w.demand.more = known.raised, false
		return
	}
	w.demand.met = min(known.met+found, known.raised)
	w.demand.more = w.demand.more || slots > known.due()
}

// start executes a run in a slot that was taken for it.
func (w *worker) start(lease context.Context, r *run) *Watch {
	w.mu.Lock()
	older := w.held[r.id] // cancelled and resumed elsewhere, and here again before a heartbeat could tell
	w.held[r.id] = r
	delete(w.starting, r.id)
	w.mu.Unlock()
	if older != nil {
		older.lose(store.ErrRunLost)
	}
	watch := w.engine.awaits.hold(r.id)
	w.runs.Go(func() {
		finished := r.execute(lease)
		w.mu.Lock()
		if w.held[r.id] == r { // it may be here again already, under a later epoch
			delete(w.held, r.id)
		}
		if finished != nil {
			delete(w.patience, r.id)
		}
		w.mu.Unlock()
		w.freeSlot()
		w.engine.awaits.drop(r.id, watch, finished)
	})
	return watch
}

func (w *worker) inFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held)
}

// lost stops a run that is no longer this worker's.
func (w *worker) lost(runID string) {
	w.mu.Lock()
	r := w.held[runID]
	w.mu.Unlock()
	if r != nil {
		r.lose(store.ErrRunLost)
	}
}

// isStarting reports whether a run's insert is under way: it may be owned and not held.
func (w *worker) isStarting(runID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.starting[runID]
}

// holding returns the runs that are held, and the claims so far.
func (w *worker) holding() (map[store.Owned]*run, claims) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := make(map[store.Owned]*run, len(w.held))
	for _, r := range w.held {
		held[r.owned] = r
	}
	return held, w.claims
}

// giveBack makes a run pending again if it is still this worker's. Should that fail, the run waits for the release of
// what is owned and not held, or for the end of the lease.
func (w *worker) giveBack(owned store.Owned) {
	if err := w.store.ReleaseRun(context.Background(), owned); err != nil {
		w.log.Warn("release", "run_id", owned.RunID, "error", err)
		return
	}
	w.created()
}

// drain waits for the runs in flight: first for the steps that they are in, for which they have Config.Drain, then for
// their functions to see that their context has ended.
func (w *worker) drain(stop context.CancelCauseFunc) {
	w.setOpen(false)
	done := make(chan struct{})
	go func() {
		w.runs.Wait()
		close(done)
	}()
	timer := time.NewTimer(w.config.Drain)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	stop(errDraining)
	timer.Reset(abandonAfter)
	select {
	case <-done:
	case <-timer.C:
		w.log.Warn("runs do not end with their context and are left behind; their writes will be refused",
			"runs", w.inFlight())
	}
}

// A function that ignores the end of its context for longer is left behind.
const abandonAfter = time.Second

// release hands back whatever this worker still owns and ends its lease.
func (w *worker) release(ctx context.Context) error {
	_, id := w.lease.current()
	if id == "" {
		return nil
	}
	released, err := w.store.ReleaseWorker(context.WithoutCancel(ctx), id)
	if err == nil && released > 0 {
		w.log.Info("handed back", "runs", released)
	}
	return err
}

// wait returns at a token, after d, or when ctx ends, and reports whether it was a token.
func wait(ctx context.Context, token <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-token:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
