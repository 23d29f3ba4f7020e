package engine

import (
	"log/slog"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
)

// idleWorker is a worker with slots, without a database.
func idleWorker(free int) *worker {
	e := &Engine{holds: write.NewHolds(), observer: write.NewObserver(slog.New(slog.DiscardHandler), nil)}
	return &worker{engine: e, wake: make(chan struct{}, 1), slots: slots{free: free}}
}

// The timer that lends a place's slot may fire at the moment when the insert is answered. The slot is the run's then, and not
// anybody else's too.
func TestSlotIsLentOrKept(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lentFirst bool
		want      int // free slots once the insert was answered
	}{
		"kept, though the timer has fired": {lentFirst: false, want: 0},
		"lent before":                      {lentFirst: true, want: 1},
	} {
		w := idleWorker(0)
		p := &place{worker: w, runID: "r", timer: time.NewTimer(time.Hour)}
		if test.lentFirst {
			p.lend()
		}
		if kept := p.keeps(); kept == test.lentFirst {
			t.Errorf("%s: keeps its slot: %t", name, kept)
		}
		if !test.lentFirst {
			p.lend()
		}
		if w.slots.free != test.want {
			t.Errorf("%s: %d slots are free, want %d", name, w.slots.free, test.want)
		}
	}
}

// Whatever becomes of the insert, as many slots are free afterwards as before.
func TestSlotsAfterAnInsertThatFailed(t *testing.T) {
	t.Parallel()
	for _, lent := range []bool{false, true} {
		w := idleWorker(1)
		w.open = true
		w.engine.holds.Starting("r")
		w.functions.Add(1)
		w.slots.free--
		p := &place{worker: w, runID: "r", timer: time.NewTimer(time.Hour)}
		if lent {
			p.lend()
		}
		p.giveUp()
		p.lend() // too late
		if w.slots.free != 1 {
			t.Errorf("lent %t: %d slots are free, want 1", lent, w.slots.free)
		}
		if w.engine.holds.Has("r") {
			t.Errorf("lent %t: the run is still starting", lent)
		}
	}
}
