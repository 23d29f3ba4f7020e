package write

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// A Writer sends the rows that all runs of this process write. While one statement is under way the next one gathers, and
// takes all that came meanwhile: the more runs there are, the more rows share a round trip and a commit. There is no timer:
// a row that comes when nothing is under way is sent at once, by itself. Before the next batch is taken, those whose rows were
// written may go on: their next rows go with it. When much waits, a second statement goes beside the first. A row with a large
// payload goes alone, see isLarge.
//
// Nothing queues without a bound: whoever writes waits for its own row. No statement is waited for longer than the timeout;
// then its callers are told so, and it is left behind: what it would still write is guarded like any other write. No row waits
// for a lock of anybody, so that one row cannot hold up the others.
type Writer struct {
	store     *store.Store // for rows that go alone
	unbounded *store.Store // for batches, which have a timer of their own
	timeout   time.Duration

	mu           sync.Mutex
	waiting      []*pending
	waitingBytes int            // of their payloads
	sending      int            // batches under way
	large        []*pending     // that wait to go alone
	carrying     int            // of these under way
	carriedBytes int            // of their payloads
	flushes      sync.WaitGroup // one for each goroutine that sends
}

// NewWriter returns a writer on a store whose batches are waited for no longer than timeout.
func NewWriter(st *store.Store, timeout time.Duration) *Writer {
	return &Writer{store: st, unbounded: st.Unbounded(), timeout: timeout}
}

const (
	maxSending    = 2        // statements at a time: the server works on one while we make and read the other
	secondFrom    = 32       // rows that must wait for the second; fewer are better off together
	secondBytes   = 16 << 10 // or bytes of payloads: the server compresses them, which takes its time
	maxBatch      = 512      // rows
	maxBatchBytes = 1 << 20  // of payloads; that of a row is less than largeFrom

	maxQuiet   = 50 * time.Microsecond  // without a further row, while the next rows of those who have been told come
	maxGiveWay = 500 * time.Microsecond // for these in all
	maxYields  = 10_000                 // more than that takes, unless the clock stands still, as in testing/synctest
)

// Write sends a row, with those of others where that is safe. The end of ctx ends the wait alone; the row may be written all
// the same.
func (w *Writer) Write(ctx context.Context, row store.Write) (store.Outcome, error) {
	if again(row) {
		return w.Alone(ctx, row) // among others, a row that exists is an error of all
	}
	p := newPending(row)
	if isLarge(row) {
		w.addLarge(p)
	} else {
		w.add(p)
	}
	if ctx.Done() == nil { // as for all that a run writes; a select costs more
		<-p.told
		return p.answer()
	}
	select {
	case <-p.told:
		return p.answer()
	case <-ctx.Done(): // its sender has it still
		return store.Lost, context.Cause(ctx)
	}
}

// add puts a row among those that wait.
func (w *Writer) add(p *pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, p)
	w.waitingBytes += store.Size(p.row)
	if w.sending == 0 || w.sending < maxSending && (len(w.waiting) >= secondFrom || w.waitingBytes >= secondBytes) {
		w.sending++
		w.flushes.Add(1)
		go w.flush()
	}
}

func again(row store.Write) bool {
	switch row := row.(type) {
	case *store.Checkpoint:
		return row.Again
	case *store.Schedule:
		return row.Again
	default:
		return false
	}
}

// Alone sends a row in a statement of its own: the row may exist, or wait for another transaction that writes it.
func (w *Writer) Alone(ctx context.Context, row store.Write) (store.Outcome, error) {
	outcomes, err := w.store.Write(ctx, []store.Write{row})
	if err != nil {
		return store.Lost, err
	}
	return outcomes[0], nil
}

// flush sends what waits until nothing does, or until it is left behind.
func (w *Writer) flush() {
	for batch := w.next(); len(batch) > 0; batch = w.next() {
		rows, ok := w.send(batch)
		if !ok {
			return
		}
		if rows > 1 {
			w.giveWay(min(rows, maxBatch))
		}
	}
	w.flushes.Done()
}

// giveWay has those who were told just now make their next rows, so that these go together with what waited before: it yields the
// processor until that many rows wait, none has come for a while, or the other sender has taken them. Nobody sleeps: a timer would take
// longer than all of it.
func (w *Writer) giveWay(rows int) {
	seen, began := 0, time.Now()
	last := began
	for range maxYields {
		runtime.Gosched()
		waiting, now := w.count(), time.Now()
		if waiting > seen {
			last = now
		}
		if waiting >= rows || waiting < seen || now.Sub(last) > maxQuiet || now.Sub(began) > maxGiveWay {
			return
		}
		seen = waiting
	}
}

// count tells how many rows wait.
func (w *Writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)
}

// next takes the next batch, oldest rows first.
func (w *Writer) next() []*pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, bytes := 0, 0
	for n < len(w.waiting) && n < maxBatch {
		size := store.Size(w.waiting[n].row)
		if n > 0 && bytes+size > maxBatchBytes {
			break
		}
		bytes += size
		n++
	}
	w.waitingBytes -= bytes
	batch := w.waiting[:n:n]
	w.waiting = w.waiting[n:]
	if len(w.waiting) == 0 {
		w.waiting = nil // not to hold what was sent
	}
	if n == 0 {
		w.sending--
	}
	return batch
}

// send writes a batch, on the context of nobody in particular. When the server refuses it for what is in it (a value, a row that
// exists, an error that a trigger of the application raises), the batch is halved until the row to blame is alone. It
// reports how many rows can come next, those that waited when the last callers were told and one of each of these, and false when a
// statement took too long: then all callers have been told, and another goroutine flushes.
func (w *Writer) send(batch []*pending) (next int, ok bool) {
	for left := [][]*pending{batch}; len(left) > 0; {
		rows := make([]store.Write, len(left[0]))
		for i, p := range left[0] {
			rows[i] = p.row
		}
		late := time.AfterFunc(w.timeout, func() {
			for _, batch := range left {
				tell(batch, nil, w.store.TimedOut("write with others", w.timeout))
			}
			w.flush()
		})
		outcomes, err := w.unbounded.Write(context.Background(), rows)
		if !late.Stop() {
			return 0, false
		}
		sent := left[0]
		left = left[1:]
		if half := len(sent) / 2; half > 0 && store.IsPermanent(err) {
			left = append([][]*pending{sent[:half], sent[half:]}, left...)
			continue
		}
		next = w.count() + len(sent)
		tell(sent, outcomes, err)
	}
	return next, true
}

func tell(batch []*pending, outcomes []store.Outcome, err error) {
	for i, p := range batch {
		if err == nil {
			p.tell(outcomes[i], nil)
		} else {
			p.tell(store.Lost, err)
		}
	}
}

// Close waits for what is under way.
func (w *Writer) Close() { w.flushes.Wait() }
