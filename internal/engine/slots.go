package engine

// claimBatch is how many runs a claim asks for at most.
const claimBatch = 50

// slots says how many more runs may begin here, and what the free ones are for: for runs that are known to wait to be claimed, for
// runs that may wait without this process knowing, or for runs that start here. A run that starts here takes a slot only if
// one is left for each that waits. Pure: whoever has it guards it.
type slots struct {
	free   int
	raised int  // runs that became claimable here, ever
	met    int  // those of them that claims have met
	more   bool // others may wait, how many nobody knows
	hints  int  // how often that was said, ever
	look   bool // the next claim is to find out
}

func newSlots(n int) slots {
	return slots{free: n, more: true} // before the first claim nobody knows what waits
}

// due is how many runs are known to wait.
func (s *slots) due() int { return s.raised - s.met }

// hint says that others may wait.
func (s *slots) hint() {
	s.more = true
	s.hints++
}

// wanted reports whether a slot that comes free now is for a claim.
func (s *slots) wanted() bool { return s.more || s.due() > 0 }

// forClaim takes slots for a claim: for the runs that are known to wait, and for a whole batch when it is to look for others, or
// there are many.
func (s *slots) forClaim() int {
	n := s.due()
	if s.look || s.more {
		n = claimBatch
	}
	n = min(s.free, n, claimBatch)
	if s.look && n == 0 {
		s.more = true // perhaps: what comes free next is for them
	}
	s.look = false
	s.free -= n
	return n
}

// forStart takes a slot for a run that starts here, if there is one that no other run waits for.
func (s *slots) forStart() bool {
	if s.more || s.free <= s.due() {
		return false
	}
	s.free--
	return true
}

// take takes a slot for a run that is owned already, if there is one.
func (s *slots) take() bool {
	if s.free == 0 {
		return false
	}
	s.free--
	return true
}

// give gives slots back.
func (s *slots) give(n int) { s.free += n }

// claimed notes what a claim has brought; asked is how things stood when it was sent. If a slot was left over, only runs that came
// since, or were said to wait since, can wait. If none was, and the claim had more slots than runs were known to wait, there may be
// more of those.
func (s *slots) claimed(asked slots, took, found int) {
	if found < took {
		s.met, s.more = asked.raised, s.hints != asked.hints
		return
	}
	s.met = min(asked.met+found, asked.raised)
	s.more = s.more || took > asked.due()
}
