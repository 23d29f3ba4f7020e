package store

import "time"

// Lane is a part of a queue that has a mark of its own: below it there is nothing to be claimed any more.
type Lane struct {
	Queue    string
	Workflow string
	Priority int
}

// FindRequest asks for queues in which runs may be due.
type FindRequest struct {
	Workflows []string       // only runs of these
	Serve     []string       // only these queues; nil: all
	Marks     map[Lane]int64 // only runs whose run_at is greater, in Unix milliseconds; none for a lane: a full look
}

// QueueRequest asks for runs of one queue that may run now.
type QueueRequest struct {
	Worker    string // who is to own them
	Queue     string
	Workflows []string
	Marks     map[Lane]int64 // as in FindRequest
	After     string         // the partition that was served last
	Limit     int            // runs at most
	Suspects  bool           // as in ClaimRequest
}

// QueueClaim is what a claim of a queue's runs found.
type QueueClaim struct {
	Now    int64 // the database's time of the look, Unix milliseconds
	Runs   []ClaimedRun
	After  string        // for the next claim
	Missed bool          // somebody else was claiming: look again soon
	Full   bool          // a limit or a pause: until a run of the queue ends, or the queue changes, there is nothing to be done
	Wait   time.Duration // until the queue's rate allows another run; 0: it does
	More   bool          // not all partitions were looked at
	Single bool          // no run has a partition: the marks may follow what was claimed
}

// ClaimAnswer is what became of the claim of one run.
type ClaimAnswer int

// The answers of [Store.ClaimRun].
const (
	RunClaimed  ClaimAnswer = iota
	RunUnknown              // there is no such run
	RunEnded                // it is finished
	RunTaken                // it is running
	RunNotDue               // it waits for something, or for a time
	RunNoPlace              // its queue is full or paused
	RunMissed               // somebody else has locked it, or is claiming: again soon
	RunNotOwned             // the worker has no lease
)
