package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

var errLeaseLost = errors.New("no heartbeat was acknowledged in time")

// A heart renews the lease, takes a new one when it was lost, and stops the runs that the database says are no longer this
// worker's. It does nothing else: what takes longer is a duty.
type heart struct {
	worker *worker
	lease  *lease
	expiry chan<- time.Duration // until the next lease of another worker ends

	conn      *store.Store // on a connection of its own: an exhausted pool must not lapse the lease
	closeConn func()
}

func newHeart(w *worker, expiry chan<- time.Duration) *heart {
	return &heart{worker: w, lease: w.lease, expiry: expiry, closeConn: func() {}}
}

// beat sends heartbeats until ctx ends.
func (h *heart) beat(ctx context.Context) {
	ticks := time.NewTicker(h.worker.config.Heartbeat)
	defer ticks.Stop()
	defer h.hangUp()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-h.worker.beat:
		}
		if ctx.Err() != nil { // both were ready
			return
		}
		if err := h.once(ctx); err != nil && ctx.Err() == nil {
			h.worker.trouble("heartbeat", err)
			h.hangUp() // a new connection next time
		}
	}
}

// once lasts at most a third of the lease, so that on a connection that is dead there is time for another one.
func (h *heart) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.worker.config.Lease/3)
	defer cancel()
	if err := h.connect(ctx); err != nil {
		return err
	}
	id := h.lease.id()
	if id == "" {
		return h.lease.register(ctx, h.conn, h.worker.introduction())
	}
	held, over := h.worker.engine.holds.All() // before the answer, which can then miss none of them
	beat := store.Beat{ID: id, Lease: h.worker.config.Lease, Workflows: h.worker.engine.known()}
	for owned := range held {
		beat.Held = append(beat.Held, owned)
	}
	beat.Hanging = h.look(held, over)

	asked := time.Now()
	pulse, err := h.conn.Heartbeat(ctx, beat)
	if store.IsPermanent(err) && beat.Hanging != nil { // the name of a step, perhaps: it must not cost the lease
		beat.Hanging, asked = nil, time.Now()
		pulse, err = h.conn.Heartbeat(ctx, beat)
	}
	if err != nil {
		return err
	}
	if !pulse.Alive {
		h.lease.lose(id)
		return h.lease.register(ctx, h.conn, h.worker.introduction())
	}
	h.lease.renewed(id, asked)
	h.worker.counted(pulse.Workers)
	for _, owned := range pulse.Lost {
		h.worker.engine.holds.Lose(owned, store.ErrRunLost)
	}
	select {
	case h.expiry <- pulse.NextExpiry:
	default:
	}
	return nil
}

// look returns the steps that have been in flight for longer than an interval, the longest first, and warns of code that goes
// on although its context has ended.
func (h *heart) look(held map[store.Owned]write.Held, over []write.Held) (long []store.HangingStep) {
	for _, r := range held {
		if r, ok := r.(*run.Run); ok {
			long = append(long, r.LongSteps(h.worker.config.Heartbeat)...)
			r.ReportHangs()
		}
	}
	for _, r := range over {
		if r, ok := r.(*run.Run); ok {
			r.ReportHangs()
		}
	}
	return longest(long)
}

// maxHanging bounds how many steps a heartbeat names: a worker may have thousands of slow ones.
const maxHanging = 100

// longest returns the steps that a heartbeat names.
func longest(steps []store.HangingStep) []store.HangingStep {
	slices.SortFunc(steps, func(a, b store.HangingStep) int { return cmp.Compare(b.Took, a.Took) })
	return steps[:min(len(steps), maxHanging)]
}

// connect makes sure that there is a connection.
func (h *heart) connect(ctx context.Context) (err error) {
	if h.conn != nil {
		return nil
	}
	h.conn, h.closeConn, err = h.worker.store.Hold(ctx)
	if err != nil {
		h.conn, h.closeConn = nil, func() {}
	}
	return err
}

func (h *heart) hangUp() {
	h.closeConn()
	h.conn, h.closeConn = nil, func() {}
}
