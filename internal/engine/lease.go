package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/store"
)

// errDraining is the cause of a run's context when its worker stops; the run goes on elsewhere.
var errDraining = errors.New("the worker is stopping; the run will go on elsewhere")

// A lease is a worker's right to own runs. Its end is decided twice: by the database, for others, and here by the
// monotonic clock, a margin earlier, so that this process has stopped before others begin; that needs no answer from the
// database.
type lease struct {
	store  *store.Store
	config Config
	log    *slog.Logger
	parent context.Context // of the runs under any lease

	mu       sync.Mutex
	id       string // of the worker's row; "" when there is no lease
	held     context.Context
	end      context.CancelCauseFunc // ends held
	until    time.Time               // when held ends unless renewed; the watchdog looks then
	watchdog *time.Timer
	draining chan struct{}
}

func newLease(st *store.Store, config Config, parent context.Context) *lease {
	return &lease{store: st, config: config, log: config.Logger, parent: parent, draining: make(chan struct{})}
}

// margin is how much earlier than in the database a lease ends here.
func (l *lease) margin() time.Duration { return l.config.Lease / 10 }

// current returns the context that ends with the lease, and the worker's id, "" when there is none.
func (l *lease) current() (context.Context, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, l.id
}

// register takes a new lease under a new id.
func (l *lease) register(ctx context.Context) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	asked := time.Now()
	if err := l.store.RegisterWorker(ctx, id.String(), l.config.Lease); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = id.String()
	l.held, l.end = context.WithCancelCause(l.parent)
	l.renewed(asked)
	l.watchdog = time.AfterFunc(time.Until(l.until), func() { l.expire(id.String()) })
	return nil
}

// renewed notes a lease that was asked for at a time: the server set its end later than that. It expects mu to be held.
func (l *lease) renewed(asked time.Time) { l.until = asked.Add(l.config.Lease - l.margin()) }

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
		if err := l.beat(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("heartbeat", "error", err)
			continue
		}
		if taken, err := l.store.TakeOver(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("take over", "error", err)
		} else if taken > 0 {
			l.log.Info("took over the runs of dead workers", "runs", taken)
		}
	}
}

func (l *lease) beat(ctx context.Context) error {
	_, id := l.current()
	if id == "" {
		return l.register(ctx)
	}
	asked := time.Now()
	alive, err := l.store.Heartbeat(ctx, id, l.config.Lease)
	if err != nil {
		return err
	}
	if !alive {
		l.lose(id)
		return l.register(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id == id { // the watchdog was not faster
		l.renewed(asked)
	}
	return nil
}

// settle ends what the lease holds, once no run is left to need it.
func (l *lease) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchdog.Stop()
	l.end(nil)
}

// drain makes every run stop before its next step.
func (l *lease) drain() { close(l.draining) }

func (l *lease) isDraining() bool {
	select {
	case <-l.draining:
		return true
	default:
		return false
	}
}
