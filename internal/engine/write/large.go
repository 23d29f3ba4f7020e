package write

import (
	"context"

	"github.com/sqlworkflow/workflow/store"
)

// A row with a large payload gains nothing from others: most of what it costs is the payload, which the server handles no
// faster in a batch, but on one processor only, and all rows of the batch would wait for that. So it goes alone, its payload a
// plain parameter, beside whatever else is under way. Such rows wait in a line of their own, and have no more than half of
// the pool.
const (
	largeFrom   = 8 << 10 // bytes of payload
	maxCarrying = 8       // large rows under way
)

// addLarge puts a row among those that wait to go alone.
func (w *Writer) addLarge(p *pending) {
	most := w.mayCarry()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.large = append(w.large, p)
	if w.carrying < most {
		w.carrying++
		w.flushes.Add(1)
		go w.carry()
	}
}

// mayCarry returns how many large rows may be under way.
func (w *Writer) mayCarry() int {
	if conns := w.store.MaxOpen(); conns > 0 {
		return min(maxCarrying, max(conns/2, 1))
	}
	return maxCarrying
}

// carry sends large rows until none waits.
func (w *Writer) carry() {
	for p := w.nextLarge(); p != nil; p = w.nextLarge() {
		p.tell(w.Alone(context.Background(), p.row))
	}
	w.flushes.Done()
}

// nextLarge takes the large row that has waited longest.
func (w *Writer) nextLarge() *pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.large) == 0 {
		w.large = nil // not to hold what was sent
		w.carrying--
		return nil
	}
	p := w.large[0]
	w.large[0] = nil
	w.large = w.large[1:]
	return p
}

func isLarge(row store.Write) bool { return store.Size(row) >= largeFrom }
