package engine

import (
	"context"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// A writer sends the starts, checkpoints and ends of all runs of this process. While one statement is under way the next
// one gathers, and takes all that came meanwhile: the more runs there are, the more rows share a round trip and a commit.
// There is no timer: a row that comes when nothing is under way is sent at once, by itself. When many wait, a second
// statement goes beside the first.
//
// Nothing queues without a bound: whoever writes waits for its own row. No statement is waited for longer than the timeout;
// then its callers are told so, and it is left behind: what it would still write is guarded like any other write.
type writer struct {
	store   *store.Store // unbounded
	timeout time.Duration

	mu      sync.Mutex
	waiting []*pending
	flying  int            // statements under way
	flights sync.WaitGroup // one for each
}

// pending is a row that waits, and then how it went.
type pending struct {
	row     store.Write
	done    chan struct{}
	written bool
	err     error
}

func newWriter(st *store.Store, timeout time.Duration) *writer {
	return &writer{store: st.Unbounded(), timeout: timeout}
}

const (
	maxFlights    = 2       // statements at a time: the server works on one while we make and read the other
	secondFlight  = 32      // rows that must wait for it; fewer are better off together
	maxBatch      = 512     // rows
	maxBatchBytes = 4 << 20 // of payloads, unless one alone is longer
)

// write sends a row with others and reports whether it was written: false is for the guard to explain, which the caller
// asks for with the row's own statement. The end of ctx ends the wait alone; the row may be written all the same.
func (w *writer) write(ctx context.Context, row store.Write) (bool, error) {
	p := &pending{row: row, done: make(chan struct{})}
	w.mu.Lock()
	w.waiting = append(w.waiting, p)
	if w.flying == 0 || w.flying < maxFlights && len(w.waiting) >= secondFlight {
		w.flying++
		w.flights.Add(1)
		go w.flush()
	}
	w.mu.Unlock()
	select {
	case <-p.done:
		return p.written, p.err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// flush sends what waits until nothing does, or until it is left behind.
func (w *writer) flush() {
	for batch := w.next(); len(batch) > 0; batch = w.next() {
		if !w.send(batch) {
			return
		}
	}
	w.flights.Done()
}

// next takes the next batch, oldest rows first.
func (w *writer) next() []*pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, bytes := 0, 0
	for n < len(w.waiting) && n < maxBatch {
		bytes += size(w.waiting[n].row)
		if n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	batch := w.waiting[:n:n]
	w.waiting = w.waiting[n:]
	if len(w.waiting) == 0 {
		w.waiting = nil // not to hold what was sent
	}
	if n == 0 {
		w.flying--
	}
	return batch
}

// send writes a batch, on the context of nobody in particular. When the server refuses a value, or a row that exists already,
// the batch is halved until that row is alone. It reports false when a statement took too long: then all callers have been
// told, and another goroutine flushes.
func (w *writer) send(batch []*pending) bool {
	for left := [][]*pending{batch}; len(left) > 0; {
		rows := make([]store.Write, len(left[0]))
		for i, p := range left[0] {
			rows[i] = p.row
		}
		late := time.AfterFunc(w.timeout, func() {
			for _, batch := range left {
				tell(batch, make([]bool, len(batch)), store.TimedOut("write with others", w.timeout))
			}
			w.flush()
		})
		written, err := w.store.Write(context.Background(), rows)
		if !late.Stop() {
			return false
		}
		sent := left[0]
		left = left[1:]
		if half := len(sent) / 2; half > 0 && store.IsRejected(err) {
			left = append([][]*pending{sent[:half], sent[half:]}, left...)
			continue
		}
		tell(sent, written, err)
	}
	return true
}

func tell(batch []*pending, written []bool, err error) {
	for i, p := range batch {
		p.written, p.err = written[i], err
		close(p.done)
	}
}

func size(row store.Write) int {
	switch row := row.(type) {
	case store.NewRun:
		return len(row.Input)
	case *store.Checkpoint:
		return len(row.Result)
	case store.End:
		return len(row.Output)
	default:
		return 0
	}
}

// close waits for what is under way.
func (w *writer) close() { w.flights.Wait() }
