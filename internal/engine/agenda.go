package engine

import (
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// An agenda says which queue is to be asked for runs now, and when to look which queues have any. A queue is asked when something was
// said of it here, when a look has found it, and again for as long as its answers say that this is of use. What one queue waits for
// holds up no other. Pure, but for its jitter: whoever has it guards it, and tells it the time.
type agenda struct {
	queues map[string]*queueDue
	look   time.Time // when to look; zero: now
	rest   rest      // not before, whatever is said
	looks  bool      // no queue was asked since the newest look
	used   bool      // queues are in use, as far as this process knows
}

// queueDue is when a queue is to be asked.
type queueDue struct {
	due    time.Time // zero: not before something is said of it, or a look finds it
	rest   rest      // not before, whatever is said
	full   bool      // a limit has left no room: it is of use to ask again when a run of it has left
	waits  time.Time // for its rate, which no run changes, until then; zero: it does not
	room   bool      // a run of it has left while it was being asked
	gather time.Time // not before, for places and slots that come free one by one
	missed int       // in a row: others were asking
	limits bool      // a limit has left no room, now or before
	more   int       // in a row: nothing was found among as many partitions as one claim looks at
	failed int       // in a row
}

const (
	missedPause = 2 * time.Millisecond // the first one after a claim that met another
	maxMissed   = 10                   // times as long is the longest
	maxMore     = 20                   // claims at once that have found nothing yet
	fullPause   = 25 * time.Millisecond
	// maxGather bounds how long places and slots that come free are gathered after a claim: for as long as it took. Each claim costs
	// the server something before it finds anything, and while it is under way more come free.
	maxGather   = 5 * time.Millisecond
	maxRateWait = time.Second // for the rate may be changed meanwhile; from then on looks tell whether any run waits at all
	// emptyShare bounds the part of the time in which looks are sent that find nothing: one in so many. Looks that take no longer
	// than emptyFree are not counted: they are as quick as a look can be.
	emptyShare = 10
	emptyFree  = time.Millisecond
)

func (a *agenda) queue(name string) *queueDue {
	q := a.queues[name]
	if q == nil {
		if a.queues == nil {
			a.queues = make(map[string]*queueDue)
		}
		q = new(queueDue)
		a.queues[name] = q
	}
	return q
}

func (q *queueDue) dueBy(at time.Time) {
	if q.due.IsZero() || at.Before(q.due) {
		q.due = at
	}
}

// waiting says that a run of the queue may wait to be claimed. A queue that is full is still asked, if not at once: some of its
// partitions may not be.
func (a *agenda) waiting(queue string, now time.Time) {
	a.used = true
	switch q := a.queue(queue); {
	case now.Before(q.waits):
	case q.full:
		q.dueBy(now.Add(jittered(fullPause)))
	default:
		q.dueBy(now)
	}
}

// left says that a run of the queue no longer runs here, and reports whether that matters: a limit had left no room.
func (a *agenda) left(queue string, now time.Time) bool {
	q := a.queue(queue)
	q.room = true
	if q.full {
		q.dueBy(later(now, q.gather))
	}
	return q.full
}

// limited reports whether a place that a run of the queue leaves may be what others wait for.
func (a *agenda) limited(queue string) bool { return a.queue(queue).limits }

// lookNow says that runs may wait, of whatever queue.
func (a *agenda) lookNow() { a.look = time.Time{} }

// lookIn is how long it is until the next look.
func (a *agenda) lookIn(now time.Time) time.Duration { return until(now, a.look, a.rest.until) }

// beginLook puts off the next look; it is brought forward again by what is said while this one is under way.
func (a *agenda) beginLook(now time.Time, every time.Duration) {
	a.look, a.looks = now.Add(jittered(every)), true
}

// looked notes which queues a look has found, and that it took so long.
func (a *agenda) looked(found []string, now time.Time, took time.Duration) {
	a.rest.after(now, took)
	for _, name := range found {
		a.used = true
		if q := a.queue(name); !now.Before(q.waits) {
			q.dueBy(now)
		}
	}
}

// turn is what comes next: a look, a queue to be asked, or neither for as long. While a queue is due no look follows on a look, however
// often it is said that runs may wait, and none is of use while there is no slot for what is due already.
func (a *agenda) turn(now time.Time, slots int) (look bool, queue string, in time.Duration) {
	in = a.lookIn(now)
	queue, due := a.next(now)
	if in == 0 && (queue == "" || slots > 0 && !a.looks) {
		return true, "", 0
	}
	if queue == "" && due > 0 {
		in = min(in, due)
	}
	return false, queue, in
}

// next returns the queue that has been due for longest, "" when none is, and how long it is then until the first one will be; never
// if that is 0.
func (a *agenda) next(now time.Time) (queue string, in time.Duration) {
	var first time.Time
	for name, q := range a.queues {
		if q.due.IsZero() {
			continue
		}
		at := later(q.due, q.rest.until)
		if first.IsZero() || at.Before(first) || at.Equal(first) && name < queue {
			queue, first = name, at
		}
	}
	if first.After(now) {
		return "", first.Sub(now)
	}
	return queue, 0
}

// ask says that a queue is being asked. What is said of it from then on concerns the next time.
func (a *agenda) ask(queue string) {
	a.looks = false
	q := a.queue(queue)
	q.due, q.full, q.waits, q.room = time.Time{}, false, time.Time{}, false
}

// An answer is what came of asking a queue.
type answer struct {
	store.QueueClaim
	limit int       // of runs, that was asked for
	now   time.Time // when it came
	took  time.Duration
}

// answered notes what came of it.
func (a *agenda) answered(queue string, got answer) {
	q := a.queue(queue)
	q.failed = 0
	if got.Missed {
		q.missed = min(q.missed+1, maxMissed)
		q.due = got.now.Add(jittered(time.Duration(q.missed) * missedPause))
		return
	}
	said, found := !q.due.IsZero(), len(got.Runs)
	q.missed, q.limits = 0, q.limits || got.Full
	q.gather = got.now.Add(min(got.took, maxGather))
	if found == 0 {
		q.rest.after(got.now, got.took)
	} else {
		q.rest = rest{}
	}
	if found > 0 || !got.More {
		q.more = 0
	}
	switch {
	case got.Wait > maxRateWait:
		q.waits, q.due = got.now.Add(maxRateWait), time.Time{}
	case got.Wait > 0:
		q.waits = got.now.Add(got.Wait)
		q.due = q.waits
	case got.More && q.more < maxMore:
		q.more++
		q.due = got.now
	case got.Full:
		q.full = true
		switch {
		case q.room:
			q.due = q.gather
		case said:
			q.due = got.now.Add(jittered(fullPause))
		}
	case got.More: // the next look goes on from there
		q.more = 0
	case found == got.limit && found < claimBatch/2:
		q.due = q.gather
	case found == got.limit:
		q.due = got.now
	}
}

// postpone asks a queue again after a pause that grows with each failure in a row.
func (a *agenda) postpone(queue string, now time.Time, first, longest time.Duration) {
	q := a.queue(queue)
	q.due = now
	q.rest.until = now.Add(jittered(min(first<<min(q.failed, 10), longest)))
	q.failed++
}

// again asks a queue again as soon as its worker asks anybody.
func (a *agenda) again(queue string, now time.Time) { a.queue(queue).due = now }

// A rest keeps looks that find nothing to their part of the time. One that was slow because the server was busy at that moment says little:
// of the last two in a row the quicker one counts.
type rest struct {
	until time.Time
	took  time.Duration // the last one
}

// after notes a look that took so long and found nothing.
func (r *rest) after(now time.Time, took time.Duration) {
	quicker := min(took, r.took)
	r.until, r.took = now.Add(min((emptyShare-1)*max(quicker-emptyFree, 0), maxClaimPause)), took
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// until is how long it is until both times have come.
func until(now, a, b time.Time) time.Duration { return max(later(a, b).Sub(now), 0) }
