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
		{"before the first claim nobody knows what waits", newSlots(100), claimBatch, true},
		{"nobody knows what waits, and those that started have their share", slots{size: 100, free: 75, started: 25, more: true}, claimBatch, false},
		{"a quarter is kept for those that start here", slots{size: 40, free: 40, fresh: 1, more: true}, 30, true},
		{"of which some have begun", slots{size: 40, free: 36, fresh: 1, started: 4, more: true}, 30, true},
		{"they have theirs, and what comes free is not for them", slots{size: 40, free: 5, fresh: 1, started: 10, more: true}, 5, false},
		{"they have more than theirs", slots{size: 40, free: 5, fresh: 1, started: 35, more: true}, 5, false},
		{"only what is kept is free", slots{size: 40, free: 10, fresh: 1, more: true}, 0, true},
		{"nobody starts here", slots{size: 40, free: 10, more: true}, 10, true},
		{"there are too few slots to keep any", slots{size: 3, free: 3, fresh: 1, more: true}, 3, false},
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

// Runs that a claim has slots for already need no other: one that starts here takes the next. When the claim is answered without them, or
// more come, they wait again.
func TestSlotWhileAClaimIsUnderWay(t *testing.T) {
	t.Parallel()
	s := slots{free: 1, raised: 1}
	asked := s
	if s.forClaim() != 1 {
		t.Fatal("no slot for the claim")
	}
	s.give(1)
	if more := s; func() bool { more.raised++; return more.forStart() }() {
		t.Error("a run that starts here took the slot of one that waits")
	}
	if !s.forStart() {
		t.Error("a run whose slot is taken took another one")
	}
	s.give(1)
	s.claimed(asked, 1, 0)
	s.raised++
	if s.forStart() {
		t.Error("a run that starts here took the slot of one that was not claimed")
	}
}

// Slots are not kept for ever for runs that start here, and whoever has given its slot back may be followed by another.
func TestSlotsForStarts(t *testing.T) {
	t.Parallel()
	s := newSlots(8)
	if first, second, third := s.forStart(), s.forStart(), s.forStart(); !first || !second || third || s.forClaim() != 6 {
		t.Fatalf("of 8 slots two are not theirs: %+v", s)
	}
	s.giveStarted()
	if s.forClaim() != 0 || !s.forStart() {
		t.Fatalf("the slot was not kept: %+v", s)
	}
	s.giveStarted()
	for range freshLooks {
		s.toLook()
	}
	if n := s.forClaim(); n != 1 {
		t.Errorf("%d slots for a claim when nobody starts here any more: %+v", n, s)
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

// That others may wait is not forgotten when it is said while a claim is under way, which does not find them.
func TestLookAgainWhileAClaimIsUnderWay(t *testing.T) {
	t.Parallel()
	w := &worker{slots: newSlots(10), wake: make(chan struct{}, 1)}
	w.slots.claimed(w.slots, w.slots.forClaim(), 0)
	asked := w.slots
	w.lookAgain()
	if w.slots.claimed(asked, 10, 3); !w.slots.wanted() {
		t.Error("no slot that comes free is for a claim")
	}
}

// Claims of runs without a queue and claims of queues share scarce slots. They alternate where there is one.
func TestSlotsAreShared(t *testing.T) {
	t.Parallel()
	for free := range 5 {
		s := slots{free: free, more: true}
		var queues, others int
		for range 1000 {
			q := s.forQueue()
			o := s.forClaim()
			queues, others = queues+q, others+o
			if s.free+q+o != free {
				t.Fatalf("%d free: %+v after %d and %d", free, s, q, o)
			}
			s.give(q + o)
		}
		if queues != others {
			t.Errorf("%d free: queues had %d, others %d", free, queues, others)
		}
	}
}

// Who does not want any does not keep the other from them, also when it was the other's turn last.
func TestSlotsOfOneSide(t *testing.T) {
	t.Parallel()
	for range 2 {
		s := slots{free: 1}
		for range 3 {
			if n := s.forQueue(); n != 1 || s.forClaim() != 0 || s.noQueue() {
				t.Fatalf("queues alone had %d: %+v", n, s)
			}
			s.give(1)
		}
		s.more = true
		for range 3 {
			if n := s.forClaim(); n != 1 {
				t.Fatalf("others alone had %d: %+v", n, s)
			}
			s.give(1)
		}
	}
}

// A slot that a queue waits for is not for a run that starts here.
func TestSlotForAQueue(t *testing.T) {
	t.Parallel()
	s := slots{}
	if s.forQueue() != 0 {
		t.Fatal("a slot where none is")
	}
	s.give(1)
	if s.forStart() {
		t.Error("a run that starts here took the slot")
	}
	s.give(1)
	if !s.forStart() {
		t.Error("of two, none is for a run that starts here")
	}
	if s.forQueue() != 1 || s.noQueue() {
		t.Error("the slot was not for the queue")
	}

	only := newSlots(2)
	only.queuesOnly = true
	if only.forStart() || only.wanted() || only.forQueue() != 2 {
		t.Errorf("runs without a queue have a part in %+v", only)
	}
}
