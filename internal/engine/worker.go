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
}

const claimBatch = 50

func newWorker(e *Engine) *worker {
	return &worker{
		engine: e, store: e.store, config: e.config, log: e.config.Logger,
		wake: make(chan struct{}, 1), slots: make(chan struct{}, e.config.Concurrency),
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
	w.lease = newLease(w.store, w.config, runs)
	if err := w.lease.register(ctx); err != nil {
		return err
	}

	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { w.lease.keep(keeping) })
	defer keeper.Wait()
	defer stopKeeping()

	w.claimLoop(ctx)
	w.drain(stop)
	return w.release(ctx)
}

// claimLoop claims again at once after a claim that found something; only an empty one waits.
func (w *worker) claimLoop(ctx context.Context) {
	pause := w.config.PollInterval
	for ctx.Err() == nil {
		started, err := w.fill(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			w.log.Warn("claim", "error", err)
			pause = min(2*pause, 20*w.config.PollInterval)
		default:
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
	held, id := w.lease.current()
	names := w.engine.known()
	if free == 0 || id == "" || len(names) == 0 {
		return 0, nil
	}
	claimed, err := w.store.Claim(ctx, id, names, free)
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
		w.giveBack(claimed)
		return 0, err
	}
	for _, c := range claimed {
		w.start(held, newRun(w, c, steps[c.ID]))
	}
	return len(claimed), nil
}

func (w *worker) start(held context.Context, r *run) {
	w.slots <- struct{}{}
	w.engine.awaits.hold(r.id)
	w.runs.Go(func() {
		defer func() { <-w.slots }()
		finished := r.execute(held)
		w.engine.awaits.drop(r.id, finished)
	})
}

// giveBack makes claimed runs pending again.
func (w *worker) giveBack(claimed []store.ClaimedRun) {
	for _, c := range claimed {
		if err := w.store.ReleaseRun(context.Background(), store.Owned{RunID: c.ID, Epoch: c.Epoch}); err != nil {
			w.log.Warn("release", "run_id", c.ID, "error", err)
		}
	}
}

// drain waits for the runs in flight: first for the steps that they are in, for which they have Config.Drain, then for
// their functions to see that their context has ended.
func (w *worker) drain(stop context.CancelCauseFunc) {
	w.lease.drain()
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
	select {
	case <-done:
	case <-time.After(abandonAfter):
		w.log.Warn("runs do not end with their context and are left behind; their writes will be refused",
			"runs", len(w.slots))
	}
}

// A function that ignores the end of its context for longer is left behind.
const abandonAfter = time.Second

// release hands back whatever this worker still owns and removes its row.
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
