package write

import (
	"testing"

	"github.com/sqlworkflow/workflow/store"
)

type nothingHeld struct{}

func (nothingHeld) Lose(error)        {}
func (nothingHeld) Woken()            {}
func (nothingHeld) WokenAt(int64)     {}
func (nothingHeld) ChildEnded(string) {}
func (nothingHeld) Awaits() bool      { return false }

// That a run is over, and that its function has returned, is told by different goroutines: in either order nothing is left.
func TestHoldIsForgotten(t *testing.T) {
	t.Parallel()
	for name, told := range map[string][]func(*Holds, *Hold){
		"over, then returned": {settleHold, (*Holds).Leave},
		"returned, then over": {(*Holds).Leave, settleHold},
	} {
		h, hold := NewHolds(), NewHold()
		h.Attach(hold, store.Owned{RunID: "r", Epoch: 1}, nothingHeld{})
		if held, over := h.Count(); held != 1 || over != 0 {
			t.Errorf("%s: %d held, %d over; want 1, 0", name, held, over)
		}
		for _, tell := range told {
			tell(h, hold)
		}
		if held, over := h.Count(); held != 0 || over != 0 || h.Has("r") || !isClosed(hold.ended) {
			t.Errorf("%s: %d held, %d over; want none", name, held, over)
		}
	}
}

func settleHold(h *Holds, hold *Hold) { h.Settle(hold, nil) }
