package engine

import "testing"

func TestSlots(t *testing.T) {
	t.Parallel()
	idle := func(free int) slots { s := newSlots(free); s.more = false; return s }
	tests := []struct {
		name  string
		s     slots
		claim int  // slots that a claim takes
		start bool // a run may start
	}{
		{"before the first claim nobody knows what waits", newSlots(100), claimBatch, false},
		{"nothing waits", idle(100), 0, true},
		{"no slot is free", idle(0), 0, false},
		{"three wait", slots{free: 100, raised: 5, met: 2}, 3, true},
		{"as many wait as are free", slots{free: 3, raised: 3}, 3, false},
		{"more wait than are free", slots{free: 3, raised: 9}, 3, false},
		{"more wait than a batch takes", slots{free: 100, raised: 80}, claimBatch, true},
		{"a look takes a whole batch", slots{free: 100, look: true}, claimBatch, true},
		{"a look takes what there is", slots{free: 2, look: true}, 2, true},
	}
	for _, test := range tests {
		claim, start := test.s, test.s
		if got := claim.forClaim(); got != test.claim || claim.free != test.s.free-got || claim.look {
			t.Errorf("%s: a claim takes %d and leaves %+v, want %d", test.name, got, claim, test.claim)
		}
		if got := start.forStart(); got != test.start || got != (start.free < test.s.free) {
			t.Errorf("%s: a start takes a slot: %t, want %t", test.name, got, test.start)
		}
	}
}

func TestSlotsAfterAClaim(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		asked, now  slots
		took, found int
		due         int
		more        bool
	}{
		{"a slot is left over: nobody waits", slots{more: true}, slots{more: true}, 50, 49, 0, false},
		{"but who came since", slots{}, slots{raised: 2}, 50, 0, 2, false},
		{"but who was said to wait since", slots{more: true, hints: 3}, slots{more: true, hints: 4}, 50, 0, 0, true},
		{"who was said to wait before is none of them", slots{more: true, hints: 3}, slots{more: true, hints: 3}, 50, 0, 0, false},
		{"a full batch: more may wait", slots{}, slots{}, 50, 50, 0, true},
		{"as many as were known", slots{raised: 3}, slots{raised: 3}, 3, 3, 0, false},
		{"fewer slots than were known", slots{raised: 9}, slots{raised: 9}, 3, 3, 6, false},
		{"fewer than were known, of whom others took some", slots{raised: 9}, slots{raised: 9}, 9, 5, 0, false},
	}
	for _, test := range tests {
		s := test.now
		s.claimed(test.asked, test.took, test.found)
		if s.due() != test.due || s.more != test.more {
			t.Errorf("%s: %d due, more %t; want %d, %t", test.name, s.due(), s.more, test.due, test.more)
		}
	}
}

// A look that finds no slot is not forgotten: what comes free next is for a claim.
func TestLookWithoutASlot(t *testing.T) {
	t.Parallel()
	s := slots{look: true}
	if n := s.forClaim(); n != 0 || !s.more {
		t.Fatalf("took %d, more %t", n, s.more)
	}
	s.give(1)
	if s.forStart() || !s.wanted() || s.forClaim() != 1 {
		t.Errorf("the slot was not for the claim: %+v", s)
	}
}

// That runs may wait is not forgotten when a claim which had looked before comes back with less than it asked for.
func TestLookAgainWhileAClaimIsUnderWay(t *testing.T) {
	t.Parallel()
	w := &worker{wake: make(chan struct{}, 1), slots: slots{free: 9}}
	asked, _, _ := w.claiming()
	w.lookAgain()
	if w.slots.claimed(asked, 5, 0); !w.slots.wanted() {
		t.Error("nobody looks")
	}
}
