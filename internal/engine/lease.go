package engine

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// A lease is a worker's right to own runs. Its end is decided twice: by the database, for others, and here by the
// monotonic clock, a margin earlier, so that this process has stopped before others begin; that needs no answer from the
// database.
type lease struct {
	length   time.Duration
	observer *write.Observer
	parent   context.Context // of the runs under any lease

	mu       sync.Mutex
	worker   string // id of the worker's row; "" when there is no lease
	held     context.Context
	end      context.CancelCauseFunc // ends held
	until    time.Time               // when held ends unless renewed; the watchdog looks then
	watchdog *time.Timer
}

func newLease(parent context.Context, length time.Duration, observer *write.Observer) *lease {
	return &lease{length: length, observer: observer, parent: parent}
}

// current returns the context that ends with the lease, and the worker's id, "" when there is none.
func (l *lease) current() (context.Context, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, l.worker
}

func (l *lease) id() string {
	_, id := l.current()
	return id
}

// register takes a new lease under a new id.
func (l *lease) register(ctx context.Context, on *store.Store, as store.Worker) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	asked := time.Now()
	as.ID = id.String()
	if err := on.RegisterWorker(ctx, as, l.length); err != nil {
		return err
	}
	l.hold(as.ID, asked)
	return nil
}

// hold begins a lease that was asked for at a time, and its watchdog.
func (l *lease) hold(id string, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worker = id
	l.held, l.end = context.WithCancelCause(l.parent)
	l.extend(asked)
	l.watchdog = time.AfterFunc(time.Until(l.until), func() { l.expire(id) })
}

// renewed notes that the lease of a worker's id was renewed by a heartbeat that was sent at a time.
func (l *lease) renewed(id string, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.worker == id { // the watchdog was not faster
		l.extend(asked)
	}
}

// extend expects mu to be held. The server set the end later than the lease was asked for; a tenth of the lease is the margin.
func (l *lease) extend(asked time.Time) { l.until = asked.Add(l.length - l.length/10) }

// expire is the watchdog.
func (l *lease) expire(id string) {
	l.mu.Lock()
	left := time.Until(l.until)
	if l.worker == id && left > 0 { // renewed since
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
	if l.drop(id) { // the log's handler is the application's, and may take its time
		l.observer.Observe(write.Event{Kind: write.LeaseLost, Worker: id, Err: errLeaseLost})
	}
}

func (l *lease) drop(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.worker != id {
		return false
	}
	l.worker = ""
	l.watchdog.Stop()
	l.end(store.ErrRunLost)
	return true
}

// settle ends what the lease holds, once no run is left to need it.
func (l *lease) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchdog.Stop()
	l.end(nil)
}
