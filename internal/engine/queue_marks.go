package engine

import (
	"slices"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// queueMarks are [marks] of runs that have a queue: one for each queue, workflow and priority of which this process has claimed runs.
// Others are looked at from their beginning on, unless that takes long. A full look is one at all queues, and has the next claim of each
// queue that it finds begin at the beginning too. Pure: no clock, no lock; the queue loop alone has it.
type queueMarks struct {
	at     map[store.Lane]int64        // Unix milliseconds of the database
	next   time.Time                   // of the full look
	behind map[string]bool             // queues that a full look has found and that were not claimed from since
	last   map[string]store.QueueClaim // where the newest claim of each has ended (After), whether it is Single, and no more of it
}

// A queueLook is where a look or a claim begins, by lane. A full one begins at 0 for all of them.
type queueLook struct {
	from map[store.Lane]int64
	full bool
}

const (
	// priorities is how many there are; 0 goes first.
	priorities = 5
	// slowClaim is how long a claim takes that has walked many runs which have passed.
	slowClaim = 5 * time.Millisecond
)

// ask returns where a look at all queues begins.
func (m *queueMarks) ask(now time.Time) queueLook {
	if !now.Before(m.next) {
		return queueLook{full: true}
	}
	return queueLook{from: m.at}
}

// askQueue returns where a claim of a queue begins.
func (m *queueMarks) askQueue(queue string) queueLook {
	if m.behind[queue] {
		return queueLook{full: true}
	}
	l := queueLook{from: make(map[store.Lane]int64)}
	for lane, at := range m.at {
		if lane.Queue == queue {
			l.from[lane] = at
		}
	}
	return l
}

// lookAtAll makes the next look a full one.
func (m *queueMarks) lookAtAll() { m.next = time.Time{} }

// looked notes how long a look took, whatever came of it, in a fleet of so many workers.
func (m *queueMarks) looked(l queueLook, took time.Duration, now time.Time, workers int) {
	if l.full {
		share := time.Duration(fullShare*max(workers, 1)) * took
		m.next = now.Add(min(max(m.next.Sub(now), 0)+share, maxFullPause))
	}
}

// found notes which queues a look has found.
func (m *queueMarks) found(l queueLook, queues []string) {
	if !l.full {
		return
	}
	m.behind = make(map[string]bool, len(queues))
	for _, queue := range queues {
		m.behind[queue] = true
	}
}

// saw notes what a claim has found in a queue, among runs of these workflows.
func (m *queueMarks) saw(queue string, workflows []string, got answer) {
	if got.Missed {
		return
	}
	if m.last == nil {
		m.at, m.last = make(map[store.Lane]int64), make(map[string]store.QueueClaim)
	}
	m.last[queue] = store.QueueClaim{After: got.After, Single: got.Single}
	nearest, late := got.Now-markSlack.Milliseconds(), false
	for i := range got.Runs {
		run := &got.Runs[i]
		lane, passed := store.Lane{Queue: queue, Workflow: run.Workflow, Priority: run.Priority}, int64(0)
		if got.Single { // a backlog is walked from its oldest entry on; more of it may have the same time
			passed = min(run.RunAt-1, nearest)
		}
		late = late || m.at[lane] > 0 && run.RunAt <= m.at[lane]
		m.at[lane] = max(m.at[lane], passed)
	}
	passedOver := slices.ContainsFunc(got.Runs, store.ClaimedRun.Suspect) // others, perhaps, for it
	all := len(got.Runs) < got.limit && !got.More && !got.Full && got.Wait == 0 && !passedOver
	if all || len(got.Runs) > 0 && !late { // where one appeared before the mark, others may have, and there was no room for them
		delete(m.behind, queue)
	}
	if all { // nobody older waits
		m.raise(queue, workflows, got.took, nearest)
	}
}

// raise raises the marks of a queue, and makes those that it has not if a claim without them took long.
func (m *queueMarks) raise(queue string, workflows []string, took time.Duration, to int64) {
	if took >= slowClaim {
		for _, name := range workflows {
			for priority := range priorities {
				lane := store.Lane{Queue: queue, Workflow: name, Priority: priority}
				m.at[lane] = max(m.at[lane], to)
			}
		}
	}
	for lane, at := range m.at {
		if lane.Queue == queue {
			m.at[lane] = max(at, to)
		}
	}
}
