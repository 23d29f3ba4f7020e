package engine

// claimBatch is how many runs a claim asks for at most.
const claimBatch = 50

// slots says how many more runs may begin here, and what the free ones are for: for runs that are known to wait to be claimed, for
// runs that may wait without this process knowing, or for runs that start here. A run that starts here takes a slot only if
// one is left for each that waits, or if few of those that started here have one: a backlog (ten thousand sleepers that are due together)
// must not keep what is new waiting until its end. Where slots are scarce, claims of runs without a queue and claims of queues share them.
// Pure: whoever has it guards it.
type slots struct {
	size    int
	free    int
	started int // slots of runs that started here
	fresh   int // looks until nobody remembers that runs start here

	raised int  // runs that became claimable here, ever
	met    int  // those of them that claims have met
	more   bool // others may wait, how many nobody knows
	hints  int  // how often that was said, ever
	look   bool // the next claim is to find out
	sent   int  // slots that the claim has which is under way

	queuesOnly bool // no run without a queue begins here
	queues     bool // a queue is due, and there was no slot for it
	oddQueues  bool // of a number of free slots that cannot be halved, the odd one is for queues
}

func newSlots(n int) slots {
	return slots{size: n, free: n, more: true} // before the first claim nobody knows what waits
}

const (
	// startShare is the part of all slots that runs which start here may have while others wait: one in so many.
	startShare = 4
	// freshLooks is for how many looks slots are kept free for runs that start here after the last one has.
	freshLooks = 20
)

// kept is how many of the free slots are for runs that start here.
func (s *slots) kept() int {
	if s.fresh == 0 {
		return 0
	}
	return max(s.size/startShare-s.started, 0)
}

// toLook makes the next claim one that is to find out what waits.
func (s *slots) toLook() {
	s.look = true
	s.fresh = max(s.fresh-1, 0)
}

// due is how many runs are known to wait.
func (s *slots) due() int { return s.raised - s.met }

// unclaimed is how many runs are known to wait that the claim which is under way has no slots for.
func (s *slots) unclaimed() int { return max(s.due()-s.sent, 0) }

// hint says that others may wait.
func (s *slots) hint() {
	s.more = true
	s.hints++
}

// wanted reports whether a slot that comes free now is for a claim of runs without a queue.
func (s *slots) wanted() bool { return !s.queuesOnly && (s.more || s.due() > 0) }

// forClaim takes slots for a claim: for the runs that are known to wait, and for a whole batch when it is to look for others, or
// there are many.
func (s *slots) forClaim() int {
	n := s.due()
	if s.look || s.more {
		n = claimBatch
	}
	n = s.share(min(n, claimBatch), false, s.queues)
	if s.look && n == 0 {
		s.more = true // perhaps: what comes free next is for them
	}
	s.look, s.sent = false, n
	return n
}

// forQueue takes slots for a claim of a queue that is due: as many as there are, up to a batch.
func (s *slots) forQueue() int {
	n := s.share(claimBatch, true, s.wanted())
	s.queues = n == 0
	return n
}

// noQueue says that no queue is due, and reports whether one was that had no slot.
func (s *slots) noQueue() bool {
	had := s.queues
	s.queues = false
	return had
}

// share takes up to n slots for queues or for runs without one. If the others want some too, half of those that are free is
// theirs; the odd one goes to either in turn.
func (s *slots) share(n int, queues, contested bool) int {
	free := max(s.free-s.kept(), 0)
	half := free / 2
	switch {
	case !contested:
		n = min(n, free)
	case free%2 == 1 && s.oddQueues == queues && n > half:
		n = half + 1
		s.oddQueues = !queues
	default:
		if free%2 == 1 && half > 0 && n > half {
			s.oddQueues = queues
		}
		n = min(n, half)
	}
	s.free -= n
	return n
}

// forStart takes a slot for a run without a queue that starts here, if there is one that no other run waits for, or that is of its share.
func (s *slots) forStart() bool {
	s.fresh = freshLooks
	if s.queuesOnly {
		return false
	}
	if s.started < s.size/startShare {
		return s.take()
	}
	taken := s.unclaimed()
	if s.queues {
		taken++
	}
	return !s.more && s.free > taken && s.take()
}

// take takes a slot for a run that started here and is owned already, if there is one.
func (s *slots) take() bool {
	if s.free == 0 {
		return false
	}
	s.free--
	s.started++
	return true
}

// giveStarted gives back the slot of a run that started here.
func (s *slots) giveStarted() {
	s.started--
	s.give(1)
}

// give gives slots back.
func (s *slots) give(n int) { s.free += n }

// claimed notes what a claim has brought; asked is how things stood when it was sent. If a slot was left over, only runs that came
// since, or were said to wait since, can wait. If none was, and the claim had more slots than runs were known to wait, there may be
// more of those.
func (s *slots) claimed(asked slots, took, found int) {
	s.sent = 0
	if found < took {
		s.met, s.more = asked.raised, s.hints != asked.hints
		return
	}
	s.met = min(asked.met+found, asked.raised)
	s.more = s.more || took > asked.due()
}
