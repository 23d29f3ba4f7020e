package write

import (
	"sync"

	"github.com/sqlworkflow/workflow/store"
)

// Holds is what this process holds: one entry for a run from before its claim is sent until its function has returned. All who
// ask what becomes of a run here ask it: callers of Result, heartbeats, and who must stop a run.
type Holds struct {
	mu    sync.Mutex
	holds map[string]*Hold // by run id
	left  map[*Hold]bool   // over here, but the function has not returned
}

// A Hold is one run in this process.
type Hold struct {
	Owned store.Owned
	run   Held // nil until it is attached: its insert, already claimed, is under way
	ended chan struct{}
	final *store.Run // once ended is closed; nil: the run goes on elsewhere
}

// Held is a run that is executed here.
type Held interface {
	// Lose stops it: nothing more of it can be written here.
	Lose(cause error)
}

// NewHolds returns a process that holds nothing.
func NewHolds() *Holds {
	return &Holds{holds: make(map[string]*Hold), left: make(map[*Hold]bool)}
}

// Reserve begins a hold for a run whose claim is under way.
func (h *Holds) Reserve(id string) *Hold {
	hold := &Hold{Owned: store.Owned{RunID: id}, ended: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holds[id] = hold
	return hold
}

// Attach gives a hold its run. An older run of the same id (cancelled and resumed elsewhere, and here again before a
// heartbeat could tell) is returned, for the caller to stop.
func (h *Holds) Attach(hold *Hold, owned store.Owned, run Held) (older Held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.holds[owned.RunID]; now != nil && now != hold {
		older = now.run
	}
	hold.Owned, hold.run = owned, run
	h.holds[owned.RunID] = hold
	return older
}

// Settle says that the run is over here: it finished, or goes on elsewhere when final is nil. Its function may still be
// running: Leave says that it is not.
func (h *Holds) Settle(hold *Hold, final *store.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if isClosed(hold.ended) {
		return
	}
	if h.holds[hold.Owned.RunID] == hold { // it may be here again already, under a later epoch
		delete(h.holds, hold.Owned.RunID)
	}
	if hold.run != nil {
		h.left[hold] = true
	}
	hold.final = final
	close(hold.ended)
}

// Leave says that the function of a hold has returned.
func (h *Holds) Leave(hold *Hold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.left, hold)
}

// Find returns the hold of a run that this process executes, nil for any other.
func (h *Holds) Find(id string) *Hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hold := h.holds[id]; hold != nil && hold.run != nil {
		return hold
	}
	return nil
}

// Has reports whether a run is held, or its claim under way.
func (h *Holds) Has(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.holds[id] != nil
}

// Lose stops a run that is no longer this process's; with epoch 0, whichever of it is here.
func (h *Holds) Lose(owned store.Owned, cause error) {
	h.mu.Lock()
	var run Held
	if hold := h.holds[owned.RunID]; hold != nil && (owned.Epoch == 0 || hold.Owned == owned) {
		run = hold.run
	}
	h.mu.Unlock()
	if run != nil {
		run.Lose(cause)
	}
}

// All returns the runs that are executed here, by what they own; over are those whose function outlives that.
func (h *Holds) All() (held map[store.Owned]Held, over []Held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held = make(map[store.Owned]Held, len(h.holds))
	for _, hold := range h.holds {
		if hold.run != nil {
			held[hold.Owned] = hold.run
		}
	}
	for hold := range h.left {
		over = append(over, hold.run)
	}
	return held, over
}

// Count returns how many runs are executed here, and how many functions have outlived their run.
func (h *Holds) Count() (held, over int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hold := range h.holds {
		if hold.run != nil {
			held++
		}
	}
	return held, len(h.left)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
