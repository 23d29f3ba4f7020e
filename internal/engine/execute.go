package engine

import (
	"context"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// Why a run was not executed though it is to be: its message has to come again.
var (
	ErrNotWorking      = errors.New("this service does not work: runs are executed under the lease that Service.Work keeps")
	ErrUnknownWorkflow = errors.New("this service has not registered the run's workflow")
	ErrSuspect         = errors.New("workers have died of the run, perhaps, and this one executes another such run: it takes one at a time")
)

// Execute executes one run here, if it may run now and nobody else executes it, and returns when there is nothing more to do for it here:
// it has ended, waits, was handed back or lost. It takes no slot: whoever calls bounds how many. The end of ctx hands the run back as
// the end of Work does.
func (e *Engine) Execute(ctx context.Context, runID string) error {
	w := e.working()
	if w == nil || !w.enter() {
		return ErrNotWorking
	}
	x, err := w.executeOne(ctx, runID)
	w.functions.Done()
	if x == nil {
		return err
	}
	x.wait(ctx)
	return nil
}

// enter makes Work wait for what begins here, unless it ends.
func (w *worker) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open {
		w.functions.Add(1)
	}
	return w.open
}

// An execution is a run that [Engine.Execute] waits for.
type execution struct {
	left     chan struct{} // closed when no code of the run goes on here
	stop     context.CancelCauseFunc
	patience time.Duration
}

// executeOne claims a run and begins to execute it. It returns nil for a run of which there is nothing to do here.
func (w *worker) executeOne(ctx context.Context, runID string) (*execution, error) {
	// Until it is held here the run may be owned: so nobody releases it meanwhile.
	w.engine.holds.Starting(runID)
	defer w.engine.holds.Started(runID)
	hold := write.NewHold()
	lease, claimed, err := w.claimOne(ctx, runID, hold)
	if claimed == nil {
		return nil, err
	}
	histories, loaded := w.load(context.WithoutCancel(ctx), lease, []store.ClaimedRun{*claimed})
	if len(loaded) == 0 { // it is being blocked
		w.leaveSuspect(hold)
		return nil, nil
	}

	x := &execution{left: make(chan struct{}), patience: w.config.Drain}
	under, stop := context.WithCancelCause(lease)
	draining, drain := context.WithCancel(ctx)
	undrain := context.AfterFunc(w.ctx, drain)
	x.stop = stop
	env := *w.env
	env.Draining = draining.Done()
	noSlot := func() {}
	w.executeIn(under, &env, hold, *claimed, histories[runID], noSlot, func() {
		undrain()
		drain()
		stop(nil)
		close(x.left)
	})
	return x, nil
}

// wait waits until the run is over here. When ctx ends, its steps have as long to finish as when Work ends, and its functions to see that
// their contexts have ended. What goes on even then is left behind, and the run is handed back when it returns.
func (x *execution) wait(ctx context.Context) {
	select {
	case <-x.left:
		return
	case <-ctx.Done():
	}
	timer := time.NewTimer(x.patience)
	defer timer.Stop()
	select {
	case <-x.left:
		return
	case <-timer.C:
	}
	x.stop(run.ErrInterrupted)
	timer.Reset(abandonAfter)
	select {
	case <-x.left:
	case <-timer.C:
	}
}

const (
	firstMissedPause = 5 * time.Millisecond // before a run that somebody held is claimed again
	maxMissedPause   = 100 * time.Millisecond
	missedPatience   = 2 * time.Second
)

// claimOne claims a run for a hold, and returns the lease that it is held under; nil when there is nothing to do for it here. One that
// somebody holds for a moment (a signal is being sent, another message of it has come, its queue's turn is taken) is tried again for a while.
func (w *worker) claimOne(ctx context.Context, runID string, hold *write.Hold) (context.Context, *store.ClaimedRun, error) {
	late := time.Now().Add(missedPatience)
	suspects := false
	for pause := firstMissedPause; ; pause = min(2*pause, maxMissedPause) {
		lease, id := w.lease.current()
		if id == "" {
			return nil, nil, ErrNotWorking
		}
		// Not cut short by the end of ctx, as any claim.
		claimed, answer, err := w.store.ClaimRun(context.WithoutCancel(ctx), store.RunRequest{
			Worker: id, RunID: runID, Workflows: w.engine.known(), Suspects: suspects,
		})
		if err == nil && answer == store.RunClaimed {
			return lease, &claimed, nil
		}
		if err == nil && answer == store.RunSuspect && w.reserveSuspect(hold) {
			suspects = true
			continue
		}
		if err == nil && answer == store.RunMissed && time.Now().Before(late) && ctx.Err() == nil {
			write.Wait(ctx, nil, jittered(pause))
			continue
		}
		w.leaveSuspect(hold) // if it has the place
		if err == nil {
			err = unclaimed[answer]
		}
		return nil, nil, err
	}
}

// unclaimed tells why a message has to come again; of what is not here there is nothing to be done.
var unclaimed = map[store.ClaimAnswer]error{
	store.RunUnknown: store.ErrRunNotFound,
	store.RunForeign: ErrUnknownWorkflow,
	store.RunNoPlace: store.ErrQueueFull,
	store.RunSuspect: ErrSuspect,
	store.RunMissed:  store.ErrLockTimeout,
	store.RunNoLease: ErrNotWorking,
}
