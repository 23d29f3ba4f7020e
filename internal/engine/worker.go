package engine

import (
	"context"
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
	slots chan struct{} // one token for each run in flight
	runs  sync.WaitGroup

	mu       sync.Mutex
	held     map[string]*run // what slots are taken by
	claims   claims
	patience map[string]time.Duration
}

// claims counts the claims that were sent, and those of which all that they brought is held. One is sent after another.
type claims struct{ sent, done int }

const claimBatch = 50

func newWorker(e *Engine) *worker {
	return &worker{
		engine: e, store: e.store, config: e.config, log: e.config.Logger,
		wake: make(chan struct{}, 1), slots: make(chan struct{}, e.config.Concurrency),
		held: make(map[string]*run), patience: make(map[string]time.Duration),
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

	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { w.lease.keep(keeping) })

	w.claimLoop(ctx)
	w.drain(stop)
	stopKeeping()
	keeper.Wait() // no heartbeat takes up again what is given up now
	return w.release(ctx)
}

// claimLoop claims again at once after a claim that found something; only an empty one waits.
func (w *worker) claimLoop(ctx context.Context) {
	pause := w.config.PollInterval
	for ctx.Err() == nil {
		started, err := w.fill(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("claim", "error", err)
			pause = min(2*pause, 20*w.config.PollInterval)
		} else {
			pause = w.config.PollInterval
		}
		if started > 0 {
			continue
		}
		if len(w.slots) == cap(w.slots) {
			select { // until a slot is free
			case w.slots <- struct{}{}:
				<-w.slots
			case <-ctx.Done():
			}
			continue
		}
		wait(ctx, w.wake, pause/2+rand.N(pause))
	}
}

// fill claims runs into the free slots and starts them.
func (w *worker) fill(ctx context.Context) (int, error) {
	free := min(cap(w.slots)-len(w.slots), claimBatch)
	lease, id := w.lease.current()
	names := w.engine.known()
	if free == 0 || id == "" || len(names) == 0 {
		return 0, nil
	}
	w.count(func(c *claims) { c.sent++ })
	defer w.count(func(c *claims) { c.done++ })
	// Not cut short by the end of ctx: a claim whose answer is not heard is one that nobody hands back.
	claimed, err := w.store.Claim(context.WithoutCancel(ctx), id, names, free)
	if err != nil || len(claimed) == 0 {
		return 0, err
	}

	ids := make([]string, len(claimed))
	for i, c := range claimed {
		ids[i] = c.ID
	}
	// A later statement, which sees what owners before have written. Claimed is claimed: if this fails, or ctx ends,
	// the runs are still this worker's to hand back.
	steps, err := w.store.LoadSteps(context.WithoutCancel(ctx), ids)
	if err != nil {
		for _, c := range claimed {
			w.giveBack(store.Owned{RunID: c.ID, Epoch: c.Epoch})
		}
		return 0, err
	}
	for _, c := range claimed {
		w.start(lease, newRun(w, c, steps[c.ID]))
	}
	return len(claimed), nil
}

func (w *worker) count(change func(*claims)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.claims)
}

func (w *worker) start(lease context.Context, r *run) {
	w.slots <- struct{}{}
	w.mu.Lock()
	older := w.held[r.id] // cancelled and resumed elsewhere, and here again before a heartbeat could tell
	w.held[r.id] = r
	w.mu.Unlock()
	if older != nil {
		older.lose(store.ErrRunLost)
	}
	w.engine.awaits.hold(r.id)
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
		<-w.slots
		w.engine.awaits.drop(r.id, finished)
	})
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
	w.nudge()
}

// drain waits for the runs in flight: first for the steps that they are in, for which they have Config.Drain, then for
// their functions to see that their context has ended.
func (w *worker) drain(stop context.CancelCauseFunc) {
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
			"runs", len(w.slots))
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
