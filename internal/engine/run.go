package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// A run is one execution in this process, under one epoch.
type run struct {
	id    string
	input json.RawMessage
	owned store.Owned
	body  Body
	store *store.Store
	lease *lease
	log   *slog.Logger

	mu       sync.Mutex
	recorded map[string]store.Step // by key
	reached  map[string]int        // how often each name was reached
	inFlight map[string]bool       // names
	ended    bool                  // the body has returned
	cancel   context.CancelCauseFunc
}

func newRun(w *worker, claimed store.ClaimedRun, steps []store.Step) *run {
	r := &run{
		id: claimed.ID, input: claimed.Input,
		owned: store.Owned{RunID: claimed.ID, Epoch: claimed.Epoch},
		body:  w.engine.body(claimed.Workflow), store: w.store, lease: w.lease,
		log:      w.log.With("run_id", claimed.ID, "workflow", claimed.Workflow),
		recorded: make(map[string]store.Step, len(steps)),
		reached:  make(map[string]int), inFlight: make(map[string]bool),
	}
	for _, step := range steps {
		r.recorded[step.Name] = step
	}
	return r
}

type runKey struct{}

// RunID returns the id of the run that ctx carries, "" when it carries none.
func RunID(ctx context.Context) string {
	if r, ok := ctx.Value(runKey{}).(*run); ok {
		return r.id
	}
	return ""
}

// execute calls the body and writes its outcome. It returns the run when it finished here, nil when it goes on elsewhere.
func (r *run) execute(held context.Context) *store.Run {
	ctx, cancel := context.WithCancelCause(held)
	defer cancel(nil)
	r.cancel = cancel

	output, err := r.callBody(context.WithValue(ctx, runKey{}, r))
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()

	// Whatever a body returns after its run was lost or interrupted is discarded.
	if cause := context.Cause(ctx); cause != nil {
		r.handBack(cause)
		return nil
	}
	finished, err := r.finish(ctx, output, err)
	if store.IsRejected(err) { // the output cannot be stored, and never will be
		finished, err = r.finish(ctx, nil, err)
	}
	if err != nil {
		r.log.Warn("finish", "error", err)
		r.handBack(err)
		return nil
	}
	return finished
}

// finish writes how the run ended: completed with output, or failed with failure.
func (r *run) finish(ctx context.Context, output json.RawMessage, failure error) (*store.Run, error) {
	finished := &store.Run{ID: r.id, Status: store.RunCompleted, Output: output}
	stored := store.NewError(failure)
	if stored != nil {
		finished.Status, finished.Output, finished.Err = store.RunFailed, nil, stored
	}
	return finished, r.persist(ctx, func(ctx context.Context) error {
		return r.store.FinishRun(ctx, r.owned, finished.Status, finished.Output, stored)
	})
}

func (r *run) callBody(ctx context.Context) (output json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			output, err = nil, panicError(p)
		}
	}()
	return r.body(ctx, r.input)
}

// panicError keeps the stack of a panic, which it must be called in.
func panicError(p any) error {
	return &store.Error{Code: "panic", Message: fmt.Sprintf("panic: %v", p), Stack: string(debug.Stack())}
}

// handBack makes the run pending again if it is still ours.
func (r *run) handBack(cause error) {
	if errors.Is(cause, store.ErrRunLost) {
		return
	}
	// On a connection that works again, or not at all: then the run waits for the end of the lease.
	err := r.store.ReleaseRun(context.Background(), r.owned)
	if err != nil && !errors.Is(err, store.ErrRunLost) {
		r.log.Warn("release", "error", err)
	}
}

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// persist sends a write until it is acknowledged or refused, for as long as the run is held here: what has happened must
// be recorded, and a database that was away for a moment must not make it happen twice. The write carries its guard and
// is safe to repeat. It is not cut short by the end of ctx, which says that the run may be lost; the guard knows.
func (r *run) persist(ctx context.Context, write func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := write(context.WithoutCancel(ctx))
		if err == nil || errors.Is(err, store.ErrRunLost) || store.IsRejected(err) || ctx.Err() != nil {
			return err
		}
		r.log.Warn("write will be repeated", "error", err)
		wait(ctx, nil, pause)
	}
}
