package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/store"
)

// A lease is a worker's right to own runs. Its end is decided twice: by the database, for others, and here by the
// monotonic clock, a margin earlier, so that this process has stopped before others begin; that needs no answer from the
// database.
type lease struct {
	worker *worker
	config Config
	log    *slog.Logger
	parent context.Context // of the runs under any lease

	mu       sync.Mutex
	id       string // of the worker's row; "" when there is no lease
	held     context.Context
	end      context.CancelCauseFunc // ends held
	until    time.Time               // when held ends unless renewed; the watchdog looks then
	watchdog *time.Timer
	draining <-chan struct{} // closed when every run is to stop before its next step

	// Used by keep alone.
	conn      *store.Store // on a connection of its own: an exhausted pool must not lapse the lease
	closeConn func()
	unheld    map[store.Owned]int // owned and not held at the last look: claims sent until the first such look
}

func newLease(parent context.Context, draining <-chan struct{}, w *worker) *lease {
	return &lease{
		worker: w, config: w.config, log: w.log, parent: parent,
		draining: draining, closeConn: func() {},
	}
}

// current returns the context that ends with the lease, and the worker's id, "" when there is none.
func (l *lease) current() (context.Context, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, l.id
}

// register takes a new lease under a new id.
func (l *lease) register(ctx context.Context, on *store.Store) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	asked := time.Now()
	if err := on.RegisterWorker(ctx, id.String(), l.config.Lease); err != nil {
		return err
	}
	l.hold(id.String(), asked)
	return nil
}

// hold begins a lease that was asked for at a time, and its watchdog.
func (l *lease) hold(id string, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = id
	l.held, l.end = context.WithCancelCause(l.parent)
	l.renewed(asked)
	l.watchdog = time.AfterFunc(time.Until(l.until), func() { l.expire(id) })
}

// renewed notes a lease that was asked for at a time: the server set its end later than that. A tenth of the lease is
// the margin. It expects mu to be held.
func (l *lease) renewed(asked time.Time) { l.until = asked.Add(l.config.Lease - l.config.Lease/10) }

// expire is the watchdog.
func (l *lease) expire(id string) {
	l.mu.Lock()
	left := time.Until(l.until)
	if l.id == id && left > 0 { // renewed since
		l.watchdog.Reset(left)
	}
	l.mu.Unlock()
	if left <= 0 {
		l.lose(id)
	}
}

// lose ends the lease of a worker's id, and with it the contexts of its runs. It is not taken up again: if the row still
// lives, it runs out.
func (l *lease) lose(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id != id {
		return
	}
	l.id = ""
	l.watchdog.Stop()
	l.end(store.ErrRunLost)
	l.log.Error("lease lost: its runs are stopped here and go on elsewhere", "worker", id)
}

// keep renews the lease until ctx ends, takes a new one when it was lost, and takes over the runs of dead workers.
func (l *lease) keep(ctx context.Context) {
	ticks := time.NewTicker(l.config.Heartbeat)
	defer ticks.Stop()
	defer l.settle()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if err := l.tick(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("heartbeat", "error", err)
			l.hangUp() // a new connection next time
		}
	}
}

// tick sends one heartbeat and looks for dead workers. It lasts at most a third of the lease, so that on a connection that
// is dead there is time for another one.
func (l *lease) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Lease/3)
	defer cancel()
	if err := l.connect(ctx); err != nil {
		return err
	}
	if err := l.beat(ctx); err != nil {
		return err
	}
	taken, err := l.conn.TakeOver(ctx)
	if taken > 0 {
		l.log.Info("took over the runs of dead workers", "runs", taken)
		l.worker.tookOver()
	}
	return err
}

// beat renews the lease, or takes a new one, and acts on what the database says of the runs.
func (l *lease) beat(ctx context.Context) error {
	_, id := l.current()
	if id == "" {
		return l.register(ctx, l.conn)
	}

	held, _ := l.worker.holding() // before the answer, which can then miss none of them
	asked := time.Now()
	owned, alive, err := l.conn.Heartbeat(ctx, id, l.config.Lease)
	if err != nil {
		return err
	}
	if !alive {
		l.lose(id)
		return l.register(ctx, l.conn)
	}
	l.mu.Lock()
	if l.id == id { // the watchdog was not faster
		l.renewed(asked)
	}
	l.mu.Unlock()
	l.compare(held, owned)
	return nil
}

// compare stops the runs that are held and not owned: cancelled, or taken over. It releases those that are owned and not
// held, the answer to whose claim was lost: once every claim that was sent until they were first seen is done, and at the
// second look at the earliest, so that no release of them can be under way.
func (l *lease) compare(held map[store.Owned]*run, owned []store.Owned) {
	// A run that is starting is held when it no longer is.
	starting := make(map[string]bool)
	for _, o := range owned {
		starting[o.RunID] = l.worker.isStarting(o.RunID)
	}
	now, claims := l.worker.holding()
	unheld := make(map[store.Owned]int)
	for _, o := range owned {
		_, before := held[o]
		_, after := now[o]
		delete(held, o)
		if before || after || starting[o.RunID] {
			continue
		}
		sent, seen := l.unheld[o]
		switch {
		case seen && claims.done >= sent:
			l.log.Warn("releasing a run that is owned and not held", "run_id", o.RunID)
			l.worker.giveBack(o)
		case seen:
			unheld[o] = sent
		default:
			unheld[o] = claims.sent
		}
	}
	l.unheld = unheld
	for _, r := range held {
		r.lose(store.ErrRunLost)
	}
}

// connect makes sure that there is a connection.
func (l *lease) connect(ctx context.Context) (err error) {
	if l.conn != nil {
		return nil
	}
	l.conn, l.closeConn, err = l.worker.store.Hold(ctx)
	if err != nil {
		l.conn, l.closeConn = nil, func() {}
	}
	return err
}

func (l *lease) hangUp() {
	l.closeConn()
	l.conn, l.closeConn = nil, func() {}
}

// settle ends what the lease holds, once no run is left to need it.
func (l *lease) settle() {
	l.hangUp()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchdog.Stop()
	l.end(nil)
}
