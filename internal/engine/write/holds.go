package write

import (
	"sync"

	"github.com/sqlworkflow/workflow/store"
)

// Holds is what this process holds: one entry for a run from before its claim is sent until it is over here. Everybody
// who wants to know what becomes of a run here asks it: callers of Result, heartbeats, and whoever must stop a run.
type Holds struct {
	mu      sync.Mutex
	entries map[string]*entry // by run id
	left    map[*Hold]bool    // over here, but the function has not returned
}

// An entry is what this process has of one run id.
type entry struct {
	held     *Hold // that is executed; nil: none is
	starting int   // inserts, already claimed, that are under way
}

// A Hold is one execution of a run in this process.
type Hold struct {
	Owned store.Owned
	run   Held // nil until it is attached
	ended chan struct{}
	final *store.Run // once ended is closed; nil: the run goes on elsewhere
	gone  bool       // the function has returned; guarded by the mu of Holds
}

// Held is a run that is executed here.
type Held interface {
	// Lose stops it: nothing more of it can be written here.
	Lose(cause error)
	// Woken tells it that something has come for it, and WokenAt which wake_seq that has made.
	Woken()
	WokenAt(seq int64)
	// ChildEnded tells it that a child which a step of its awaits has ended here.
	ChildEnded(step string)
	// Awaits reports whether it waits here for what another process may send.
	Awaits() bool
}

// NewHolds returns a process that holds nothing.
func NewHolds() *Holds {
	return &Holds{entries: make(map[string]*entry), left: make(map[*Hold]bool)}
}

// NewHold returns a hold to be attached.
func NewHold() *Hold { return &Hold{ended: make(chan struct{})} }

// Starting says that the insert of a run, already claimed, is under way: until Started it may be owned and not held.
func (h *Holds) Starting(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entry(id).starting++
}

// Started ends what Starting began.
func (h *Holds) Started(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(id)
	e.starting--
	h.tidy(id, e)
}

// entry expects mu to be held.
func (h *Holds) entry(id string) *entry {
	e := h.entries[id]
	if e == nil {
		e = new(entry)
		h.entries[id] = e
	}
	return e
}

// tidy expects mu to be held.
func (h *Holds) tidy(id string, e *entry) {
	if e.held == nil && e.starting == 0 {
		delete(h.entries, id)
	}
}

// Attach gives a hold its run. An older execution of the same run (cancelled and resumed elsewhere, and here again before a
// heartbeat could tell) is returned, for the caller to stop.
func (h *Holds) Attach(hold *Hold, owned store.Owned, run Held) (older Held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(owned.RunID)
	if e.held != nil {
		older = e.held.run
	}
	hold.Owned, hold.run = owned, run
	e.held = hold
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
	if e := h.entries[hold.Owned.RunID]; e != nil && e.held == hold { // it may be here again already, under a later epoch
		e.held = nil
		h.tidy(hold.Owned.RunID, e)
	}
	if !hold.gone { // else it returned while another goroutine was about to say this
		h.left[hold] = true
	}
	hold.final = final
	close(hold.ended)
}

// Leave says that the function of a hold has returned.
func (h *Holds) Leave(hold *Hold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hold.gone = true
	delete(h.left, hold)
}

// Find returns the hold of a run that this process executes, nil for any other.
func (h *Holds) Find(id string) *Hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[id]; e != nil {
		return e.held
	}
	return nil
}

// Run returns the run if this process executes it, nil for any other.
func (h *Holds) Run(id string) Held {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[id]; e != nil && e.held != nil {
		return e.held.run
	}
	return nil
}

// Has reports whether a run is held, or its insert under way.
func (h *Holds) Has(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entries[id] != nil
}

// Lose stops a run that is no longer this process's; with epoch 0, whichever of it is here.
func (h *Holds) Lose(owned store.Owned, cause error) {
	h.mu.Lock()
	var run Held
	if e := h.entries[owned.RunID]; e != nil && e.held != nil && (owned.Epoch == 0 || e.held.Owned == owned) {
		run = e.held.run
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
	held = make(map[store.Owned]Held, len(h.entries))
	for _, e := range h.entries {
		if e.held != nil {
			held[e.held.Owned] = e.held.run
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
	for _, e := range h.entries {
		if e.held != nil {
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
