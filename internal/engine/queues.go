package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// queueLoop claims runs of queues, one queue at a time, beside the loop that claims runs without one.
func (w *worker) queueLoop(ctx context.Context) {
	pause := w.config.PollInterval
	var marks queueMarks
	for ctx.Err() == nil {
		next := w.nextForQueues(time.Now())
		var err error
		switch {
		case next.look:
			err = w.findQueues(ctx, &marks)
		case next.slots > 0:
			err = w.claimQueue(ctx, &marks, next.queue, next.slots)
		default:
			write.Wait(ctx, w.wakeQueues, next.in)
			continue
		}
		pause = w.rest(ctx, "claim runs of queues", pause, err)
	}
}

// A queueTask is what the queue loop does next: it looks, claims, or waits for so long.
type queueTask struct {
	look  bool
	queue string
	slots int // that were taken for it
	in    time.Duration
}

func (w *worker) nextForQueues(now time.Time) queueTask {
	w.mu.Lock()
	defer w.mu.Unlock()
	look, queue, in := w.agenda.turn(now, w.slots.free)
	switch {
	case look:
		w.agenda.beginLook(now, w.poll())
		return queueTask{look: true}
	case queue == "":
		if w.slots.noQueue() && w.slots.wanted() {
			w.nudge()
		}
		return queueTask{in: in}
	}
	n := w.slots.forQueue()
	if n == 0 { // a slot that comes free is told
		return queueTask{in: cmp.Or(in, w.config.PollInterval)}
	}
	w.agenda.ask(queue)
	return queueTask{queue: queue, slots: n}
}

// findQueues looks which queues have runs for this worker.
func (w *worker) findQueues(ctx context.Context, marks *queueMarks) error {
	names := w.engine.known()
	if len(names) == 0 {
		w.onAgenda(func(a *agenda, _ time.Time) { a.lookNow() })
		return errCannotClaim
	}
	if w.lookBehind(queueClaims) {
		marks.lookAtAll()
	}
	sent := time.Now()
	asked := marks.ask(sent)
	found, err := w.store.FindQueues(context.WithoutCancel(ctx), store.FindRequest{Workflows: names, Serve: w.queues, Marks: asked.from})
	now := time.Now()
	marks.looked(asked, now.Sub(sent), now, int(w.fleet.Load()))
	if err != nil {
		w.onAgenda(func(a *agenda, _ time.Time) { a.lookNow() })
		return err
	}
	marks.found(asked, found)
	w.onAgenda(func(a *agenda, _ time.Time) { a.looked(found, now, now.Sub(sent)) })
	return nil
}

// claimQueue claims runs of a queue into slots that were taken for them, executes them, and gives back the slots that are left.
func (w *worker) claimQueue(ctx context.Context, marks *queueMarks, queue string, n int) error {
	used := 0
	defer func() { w.give(n - used) }()
	lease, id := w.lease.current()
	names := w.engine.known()
	if id == "" || len(names) == 0 {
		w.onAgenda(func(a *agenda, now time.Time) { a.again(queue, now) })
		return errCannotClaim
	}
	_, suspects := w.claiming(queueClaims)
	defer w.claimed(queueClaims)
	asked := marks.askQueue(queue)
	last, known := marks.last[queue]

	sent := time.Now()
	// Not cut short by the end of ctx, as in claim.
	found, err := w.store.ClaimQueue(context.WithoutCancel(ctx), store.QueueRequest{
		Worker: id, Queue: queue, Workflows: names, Marks: asked.from, After: last.After, Limit: n, Suspects: suspects,
		Single: last.Single || !known,
	})
	got := answer{QueueClaim: found, limit: n, now: time.Now()}
	got.took = got.now.Sub(sent)
	marks.looked(asked, got.took, got.now, int(w.fleet.Load()))
	if err != nil {
		return w.cannotClaim(queue, err)
	}
	marks.saw(queue, names, got)
	w.onAgenda(func(a *agenda, _ time.Time) { a.answered(queue, got) })
	used = w.begin(ctx, lease, found.Runs)
	return nil
}

// cannotClaim has a queue asked again later. What concerns it alone holds up no other queue.
func (w *worker) cannotClaim(queue string, err error) error {
	alone := store.IsPermanent(err)
	w.onAgenda(func(a *agenda, now time.Time) {
		if alone {
			a.postpone(queue, now, w.config.PollInterval, maxClaimPause)
		} else {
			a.again(queue, now)
		}
	})
	if alone {
		w.trouble("claim runs of queue "+queue, err)
		return nil
	}
	return err
}

func (w *worker) onAgenda(note func(a *agenda, now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	note(&w.agenda, time.Now())
}

// serves reports whether runs of a queue are executed here; [NoQueue]: runs without one.
func (w *worker) serves(queue string) bool {
	if len(w.config.Serve) == 0 {
		return true
	}
	return slices.Contains(w.config.Serve, queue)
}

// NoQueue stands for runs without a queue among those that are served.
const NoQueue = ""

// servedQueues are those of a config, nil if it serves all, and whether it serves any.
func servedQueues(serve []string) (queues []string, some bool) {
	if len(serve) == 0 {
		return nil, true
	}
	queues = slices.DeleteFunc(slices.Clone(serve), func(name string) bool { return name == NoQueue })
	return queues, len(queues) > 0
}

// waiting says that a run of a queue may be claimed.
func (w *worker) waiting(queue string) {
	if !w.serves(queue) {
		return
	}
	w.onAgenda(func(a *agenda, now time.Time) { a.waiting(queue, now) })
	w.nudgeQueues()
}

// left says that a run, if it has a queue, does not run here any more.
func (w *worker) left(queue string) {
	if queue == NoQueue {
		return
	}
	due, limited := false, false
	w.onAgenda(func(a *agenda, now time.Time) { due, limited = a.left(queue, now), a.limited(queue) })
	if due {
		w.nudgeQueues()
	}
	if limited { // others may wait for its place
		w.engine.tellCreated(queue)
	}
}

// lookAtQueues says that runs of whatever queue may be claimed.
func (w *worker) lookAtQueues() {
	w.onAgenda(func(a *agenda, _ time.Time) { a.lookNow() })
	w.nudgeQueues()
}

// hintQueues says that runs of whatever queue may be claimed, where queues are in use at all. It expects mu to be held.
func (w *worker) hintQueues() {
	if w.agenda.used {
		w.agenda.lookNow()
		w.nudgeQueues()
	}
}

func (w *worker) nudgeQueues() {
	select {
	case w.wakeQueues <- struct{}{}:
	default:
	}
}
