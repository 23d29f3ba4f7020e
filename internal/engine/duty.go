package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// A duty is a task of the fleet that some worker has to see to from time to time: take-over, and whatever else no caller waits
// for. Each has a bound of its own, and none shares the heartbeat's time.
type duty struct {
	name  string
	every time.Duration        // jittered
	bound time.Duration        // of one turn
	early <-chan time.Duration // tells when a turn is due before that; nil: never
	do    func(context.Context) error
}

// earlyMargin is how long a turn waits after an early time, so that rounding does not make it come too early.
const earlyMargin = 20 * time.Millisecond

// keep sees to the duty until ctx ends.
func (d *duty) keep(ctx context.Context, observer *write.Observer) {
	var early time.Time // holds until it has passed, whatever turns come before
	for due := time.Now().Add(jittered(d.every)); ; {
		next := due
		if !early.IsZero() && early.Before(due) {
			next = early
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case in := <-d.early:
			timer.Stop()
			if soon := time.Now().Add(in + earlyMargin); in > 0 && (early.IsZero() || soon.Before(early)) {
				early = soon
			}
			continue
		case now := <-timer.C:
			if !early.After(now) {
				early = time.Time{}
			}
		}
		if err := d.turn(ctx); err != nil && ctx.Err() == nil {
			observer.Observe(write.Event{Kind: write.Trouble, Op: d.name, Err: err})
		}
		due = time.Now().Add(jittered(d.every))
	}
}

func (d *duty) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.bound)
	defer cancel()
	return d.do(ctx)
}

// duties of a worker. expiry tells when the next lease of another worker ends: its runs are taken over then, not a heartbeat
// later.
func (w *worker) duties(expiry <-chan time.Duration) []*duty {
	orphans, sweeper, timekeeper := &orphans{worker: w}, &sweeper{worker: w}, newTimekeeper(w)
	all := []*duty{
		{name: "take over runs", every: w.config.Heartbeat, bound: w.config.Timeout, early: expiry, do: w.takeOver},
		{name: "forget workers", every: 60 * w.config.Heartbeat, bound: w.config.Timeout, do: w.store.ForgetWorkers},
		{name: "release runs that nobody holds", every: 2 * w.config.Heartbeat, bound: w.config.Timeout, do: orphans.release},
		{name: "look for what has come", every: w.config.PollInterval, bound: w.config.Timeout, do: w.rarely(w.lookForNews)},
		{name: "sweep children", every: 12 * w.config.Heartbeat, bound: w.config.Timeout, do: sweeper.sweep},
		{name: "end overdue runs", every: w.config.Heartbeat, bound: w.config.Timeout, do: w.endOverdue},
		{
			name: "start runs of schedules", every: ticksEvery * w.config.PollInterval, bound: w.config.Timeout,
			early: timekeeper.early, do: timekeeper.tick,
		},
		{name: "look for unserved schedules", every: 12 * w.config.Heartbeat, bound: w.config.Timeout, do: timekeeper.reportUnserved},
		{name: "look for unserved runs", every: 12 * w.config.Heartbeat, bound: w.config.Timeout, do: w.reportUnserved},
	}
	if w.config.Retention > 0 {
		all = append(all, &duty{name: "prune runs", every: 12 * w.config.Heartbeat, bound: pruneBound, do: (&pruner{worker: w}).prune})
	}
	return all
}

// takeOver makes the runs of dead workers claimable.
func (w *worker) takeOver(ctx context.Context) error {
	lease, id := w.lease.current()
	taken, err := w.store.TakeOver(ctx, id)
	w.tellTakenOver(taken)
	if len(taken.Pending)+len(taken.Doomed) > 0 {
		w.engine.tellWork()
		w.lookAgain()
	}
	for _, doomed := range taken.Doomed {
		w.functions.Go(func() {
			run.Fail(lease, w.env, doomed)
			w.left(doomed.Queue)
		})
	}
	return err
}

// endOverdue ends runs whose deadline has passed while they waited in a queue, which may be full or paused.
func (w *worker) endOverdue(ctx context.Context) error {
	ids, err := w.store.Overdue(ctx)
	for _, id := range ids {
		ended, err := w.store.EndOverdue(ctx, id, run.ErrDeadline)
		if err != nil {
			return err
		}
		if ended {
			w.engine.observer.Observe(write.Event{Kind: write.RunFailed, RunID: id, Err: run.ErrDeadline})
			w.engine.tellEnded(id)
			w.lookAgain() // its parent may go on
		}
	}
	return err
}

// lookForNews tells runs that wait here, because other branches of theirs are busy, what other processes have sent. It asks nothing
// while there are none.
func (w *worker) lookForNews(ctx context.Context) error {
	held, _ := w.engine.holds.All()
	waiting := make(map[string]write.Held)
	for owned, run := range held {
		if run.Awaits() {
			waiting[owned.RunID] = run
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	seqs, err := w.store.WakeSeqs(ctx, slices.Collect(maps.Keys(waiting)))
	for id, seq := range seqs {
		waiting[id].WokenAt(seq)
	}
	return err
}

// A sweeper walks the families of runs, a few stretches a turn.
type sweeper struct {
	worker *worker
	at     store.ChildKey
}

const sweepStretches = 10 // a turn

// sweep cancels children that nobody waits for any more, and wakes parents whose children have all ended, of which there are none
// unless something has gone wrong.
func (s *sweeper) sweep(ctx context.Context) error {
	for range sweepStretches {
		found, err := s.worker.store.FindStranded(ctx, s.at)
		for _, id := range found.Cancelled {
			s.worker.engine.Cancelled(id)
		}
		if n := len(found.Cancelled); n > 0 {
			s.worker.engine.observer.Observe(write.Event{Kind: write.ChildrenCancelled, Count: int64(n)})
		}
		if n := len(found.Woken); n > 0 {
			s.worker.engine.observer.Observe(write.Event{Kind: write.ParentsWoken, Count: int64(n)})
			s.worker.engine.tellWork()
			s.worker.lookAgain()
		}
		if err != nil {
			return err
		}
		if s.at = found.Next; s.at == (store.ChildKey{}) {
			return nil
		}
	}
	return nil
}

// reportUnserved warns of runs that no living worker will ever claim, by queue.
func (w *worker) reportUnserved(ctx context.Context) error {
	workflows, err := w.store.UnservedWorkflows(ctx)
	if len(workflows) > 0 {
		w.engine.observer.Observe(write.Event{Kind: write.WorkflowsUnserved, Workflows: workflows})
	}
	if err != nil {
		return err
	}
	unserved, err := w.store.UnservedQueues(ctx)
	queues := make(map[string][]string)
	for _, u := range unserved {
		queues[u.Queue] = append(queues[u.Queue], u.Workflow)
	}
	for queue, workflows := range queues {
		w.engine.observer.Observe(write.Event{Kind: write.QueueUnserved, Queue: queue, Workflows: workflows})
	}
	return err
}

// orphans releases runs that this worker owns and does not hold: the answer to whose claim was lost.
type orphans struct {
	worker *worker
	seen   map[store.Owned]claimCounts // at the last look: claims until the first such look
}

// release releases a run that was seen twice, once all claims are done that had been sent when it was first seen. By then no
// claim can be about to hold it, and no release of it can be under way.
func (o *orphans) release(ctx context.Context) error {
	w := o.worker
	id := w.lease.id()
	if id == "" {
		return nil
	}
	owned, err := w.store.OwnedRuns(ctx, id)
	if err != nil {
		return err
	}
	held, _ := w.engine.holds.All()
	sofar := w.claimsSoFar()
	seen := make(map[store.Owned]claimCounts)
	for _, run := range owned {
		if held[run] != nil || w.engine.holds.Has(run.RunID) {
			continue
		}
		then, again := o.seen[run]
		switch {
		case again && sofar.doneSince(then):
			if w.handBack(run, 0) {
				w.engine.tellWork()
				w.lookAgain()
			}
		case again:
			seen[run] = then
		default:
			seen[run] = sofar
		}
	}
	o.seen = seen
	return nil
}
