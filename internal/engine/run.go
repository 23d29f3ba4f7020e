package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// A run is one execution in this process, under one epoch. It has two contexts: own ends when the run is no longer
// this process's, and with it everything; the body's ends also when the run is to stop in good order (parked, draining),
// and steps in flight are then allowed to finish.
type run struct {
	id       string
	workflow string
	input    json.RawMessage
	owned    store.Owned
	deadline *time.Duration
	worker   *worker
	body     Body
	store    *store.Store
	log      *slog.Logger

	own     context.Context
	loseOwn context.CancelCauseFunc

	pause    context.CancelCauseFunc // ends the body's context
	bodyDone <-chan struct{}         // its Done

	mu       sync.Mutex
	recorded map[string]*record // by key
	root     *scope
	branches map[string]*scope // by prefix
	ahead    int               // loaded steps that have ended and are not reached yet
	flying   int               // steps in flight
	quiet    chan struct{}     // closed and forgotten whenever flying changes; nil when nobody waits for that
	ended    bool              // the body has returned
	refused  bool              // a step was refused because the run is parking
	wakeAt   time.Time         // of a parked run
}

// A record is a step as loaded or written. Frames of a step's call chain hold pointers to it: stacks of many runs are memory.
type record struct {
	store.Step
	at      time.Time // when it was loaded or written: its WakeIn counts from then
	reached bool      // by the body; guarded by the run's mu
}

func newRun(w *worker, claimed store.ClaimedRun, steps []store.Step) *run {
	r := &run{
		id: claimed.ID, workflow: claimed.Workflow, input: claimed.Input, deadline: claimed.Deadline,
		owned:  store.Owned{RunID: claimed.ID, Epoch: claimed.Epoch},
		worker: w, body: w.engine.body(claimed.Workflow), store: w.store,
		log:      w.log.With("run_id", claimed.ID, "workflow", claimed.Workflow),
		recorded: make(map[string]*record, len(steps)),
	}
	r.root = &scope{run: r}
	now := time.Now()
	for _, step := range steps {
		r.recorded[step.Name] = &record{Step: step, at: now}
		if hasEnded(&step) {
			r.ahead++
		}
	}
	r.own, r.loseOwn = context.WithCancelCause(context.Background())
	return r
}

// lose stops the run at once: nothing more of it can be written here.
func (r *run) lose(cause error) { r.loseOwn(cause) }

// execute calls the body and writes its outcome. It returns the run when it finished here, nil when it goes on elsewhere.
func (r *run) execute(lease context.Context) *store.Run {
	stop := context.AfterFunc(lease, func() { r.lose(context.Cause(lease)) })
	defer stop()
	defer r.loseOwn(nil)

	ctx, pause := context.WithCancelCause(r.own)
	defer pause(nil)
	r.pause = pause
	if r.deadline != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, *r.deadline, errDeadline)
		defer cancel()
	}

	r.bodyDone = ctx.Done()
	output, err := r.callBody(r.root.on(ctx))
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()

	switch cause := context.Cause(ctx); {
	case cause == nil:
		if err == nil {
			err = r.unreached()
		}
	case errors.Is(cause, errDeadline):
		output, err = nil, errDeadline
	default: // whatever a body returns after its run was lost or paused is discarded
		r.handBack(cause)
		return nil
	}
	return r.end(output, err)
}

// errDeadline is what a run fails with when it is not finished in time.
var errDeadline = &store.Error{Code: "deadline", Message: "the run was not finished by its deadline"}

func (r *run) callBody(ctx context.Context) (output json.RawMessage, err error) {
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause // the deadline has passed
	}
	defer func() {
		if p := recover(); p != nil {
			output, err = nil, panicError(p)
		}
	}()
	return r.body(ctx, r.input)
}

// panicError keeps the stack of a panic; call it while recovering.
func panicError(p any) error {
	return &store.Error{Code: "panic", Message: fmt.Sprintf("panic: %v", p), Stack: string(debug.Stack())}
}

// unreached returns an error when steps are recorded that the body has not asked for: it is not the body that wrote them.
func (r *run) unreached() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for key, step := range r.recorded {
		if !step.reached && hasEnded(&step.Step) {
			keys = append(keys, key)
		}
	}
	if keys == nil {
		return nil
	}
	slices.Sort(keys)
	return nondeterministic("the function returned without reaching recorded steps: %s", strings.Join(keys, ", "))
}

func hasEnded(step *store.Step) bool {
	return step.Status == store.StepSucceeded || step.Status == store.StepFailed
}

// nondeterministic stops a run whose function does not do what it did before.
func nondeterministic(format string, args ...any) error {
	return &store.Error{
		Code: "nondeterministic",
		Message: fmt.Sprintf(format, args...) +
			" (a workflow's function must do the same each time; give changed steps another name, or a changed workflow)",
	}
}

// end writes how the run ended: completed with output, or failed with failure.
func (r *run) end(output json.RawMessage, failure error) *store.Run {
	finished, err := r.finish(output, failure)
	if store.IsRejected(err) { // the output cannot be stored, and never will be
		finished, err = r.finish(nil, err)
	}
	if err != nil {
		r.log.Warn("finish", "error", err)
		r.handBack(err)
		return nil
	}
	return finished
}

func (r *run) finish(output json.RawMessage, failure error) (*store.Run, error) {
	finished := &store.Run{ID: r.id, Status: store.RunCompleted, Output: output}
	stored := store.NewError(failure)
	if stored != nil {
		finished.Status, finished.Output, finished.Err = store.RunFailed, nil, stored
	}
	end := store.End{Owned: r.owned, Status: finished.Status, Output: finished.Output, Err: stored}
	return finished, r.persist(func(ctx context.Context) error {
		written, err := r.worker.engine.writer.write(ctx, end)
		if err == nil && !written {
			err = r.store.FinishRun(ctx, end)
		}
		return err
	})
}

// handBack gives up a run that is still ours: parked until it has waited, else for anybody to claim.
func (r *run) handBack(cause error) {
	if errors.Is(cause, store.ErrRunLost) {
		return
	}
	if !errors.Is(cause, errParked) || r.own.Err() != nil {
		r.worker.giveBack(r.owned)
		return
	}
	r.awaitFlying()
	r.mu.Lock()
	refused, wakeIn := r.refused, time.Until(r.wakeAt)
	r.mu.Unlock()
	if refused { // another goroutine had something to do
		r.worker.bePatient(r.id)
		r.worker.giveBack(r.owned)
		return
	}
	r.worker.forgetPatience(r.id)
	err := r.persist(func(ctx context.Context) error { return r.store.ParkRun(ctx, r.owned, max(0, wakeIn)) })
	if err != nil && !errors.Is(err, store.ErrRunLost) {
		r.log.Warn("park", "error", err)
	}
}

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// persist sends a write until it is acknowledged or refused, for as long as the run is ours: what has happened must be
// recorded, and a database that was away for a moment must not make it happen twice. The write carries its guard and is
// safe to repeat. It is not cut short when the run seems lost; the guard knows.
func (r *run) persist(write func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := write(context.WithoutCancel(r.own))
		if err == nil || errors.Is(err, store.ErrRunLost) || store.IsRejected(err) || r.own.Err() != nil {
			return err
		}
		r.log.Warn("write will be repeated", "error", err)
		wait(r.own, nil, pause)
	}
}
