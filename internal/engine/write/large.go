package write

import (
	"context"

	"github.com/sqlworkflow/workflow/store"
)

// A row with a large payload gains nothing from others: most of what it costs is the payload, which the server handles no
// faster in a batch, but on one processor only, and all rows of the batch would wait for that. So it goes alone, its payload a
// plain parameter, beside whatever else is under way. Such rows wait in a line of their own. As many are under way as the pool has
// connections, but for those of the batches: a server that has other things to do as well shares its processors and its disk among
// all that ask, and whoever asks more rarely gets less. What they take of memory is bounded by their bytes, a few times over.
const (
	largeFrom       = 8 << 10  // bytes of payload
	maxCarrying     = 32       // large rows under way
	maxCarriedBytes = 32 << 20 // of their payloads, unless one row alone has more
)

// addLarge puts a row among those that wait to go alone.
func (w *Writer) addLarge(p *pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.large = append(w.large, p)
	w.carryMore()
}

// carryMore begins to send large rows while there is room for them. The caller holds mu.
func (w *Writer) carryMore() {
	most := w.mayCarry()
	for p := w.nextLarge(most); p != nil; p = w.nextLarge(most) {
		w.flushes.Add(1)
		go w.carry(p)
	}
}

// mayCarry returns how many large rows may be under way.
func (w *Writer) mayCarry() int {
	if conns := w.store.MaxOpen(); conns > 0 { // else there is no bound
		return min(maxCarrying, max(conns-maxSending, 1))
	}
	return maxCarrying
}

// nextLarge takes the large row that has waited longest, nil if none waits or there is no room for it.
func (w *Writer) nextLarge(most int) *pending {
	if len(w.large) == 0 || w.carrying == most {
		return nil
	}
	p := w.large[0]
	size := store.Size(p.row)
	if w.carrying > 0 && w.carriedBytes+size > maxCarriedBytes {
		return nil
	}
	w.carrying++
	w.carriedBytes += size
	w.large[0] = nil
	w.large = w.large[1:]
	if len(w.large) == 0 {
		w.large = nil // not to hold what was sent
	}
	return p
}

// carry sends a large row, and then what there is room for instead.
func (w *Writer) carry(p *pending) {
	outcome, err := w.Alone(context.Background(), p.row)
	w.mu.Lock()
	w.carrying--
	w.carriedBytes -= store.Size(p.row)
	w.carryMore()
	w.mu.Unlock()
	p.tell(outcome, err)
	w.flushes.Done()
}

func isLarge(row store.Write) bool { return store.Size(row) >= largeFrom }
