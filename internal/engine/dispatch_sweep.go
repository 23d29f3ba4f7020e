package engine

import (
	"context"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// A dispatchSweep finds the runs that the application's queue has to be told of: those that SQL has made runnable (a signal, a timer, a
// child's end, a take-over), those that were started in a transaction or by a step, and those of which the queue was told long ago.
type dispatchSweep struct {
	worker   *worker
	dispatch *dispatch

	fresh, again marks
	nextAgain    time.Time     // when to look for announcements to repeat
	limit        int           // of runs that are announced at once
	aside        []string      // runs that the queue has refused alone
	asideUntil   time.Time     // zero: they may have come to a queue that was down
	accepts      bool          // the queue has accepted the batch before
	pause        time.Duration // after trouble; 0: there is none
}

const (
	announceBatch   = 100
	announceShrinks = 10 // a batch that was refused is tried again with so many times fewer runs
	maxAside        = 100
	againPerAfter   = 4 // looks for announcements to repeat, in the time after which they are
)

func newDispatchSweep(w *worker) *dispatchSweep {
	return &dispatchSweep{worker: w, dispatch: w.engine.dispatch, limit: announceBatch}
}

// keep sweeps until ctx ends: when something is known to have become runnable, and once in a poll. Nothing shortens a pause after trouble.
func (s *dispatchSweep) keep(ctx context.Context) {
	for ctx.Err() == nil {
		more := s.sweep(ctx)
		switch {
		case s.pause > 0:
			write.Wait(ctx, nil, jittered(s.pause))
		case !more:
			write.Wait(ctx, s.worker.announce, jittered(s.worker.config.PollInterval))
		}
	}
}

// sweep announces one batch, and reports whether there may be more.
func (s *dispatchSweep) sweep(ctx context.Context) (more bool) {
	if s.dispatch.missed.Swap(false) {
		s.fresh.lookAtAll()
	}
	now := time.Now()
	if !s.asideUntil.IsZero() && now.After(s.asideUntil) {
		s.takeUp()
	}
	fresh, again := s.fresh.ask(sweepLanes, now), s.again.ask(sweepLanes, now)
	request := store.AnnounceRequest{
		Limit: s.limit, After: s.dispatch.after, Aside: s.aside, Again: !now.Before(s.nextAgain),
		Mark: fresh.from[sweepLane], AgainMark: again.from[sweepLane],
	}
	found, took, err := s.announce(ctx, request)

	now = time.Now()
	workers := int(s.worker.fleet.Load())
	s.fresh.looked(fresh, took, now, workers)
	if request.Again {
		s.again.looked(again, took, now, workers)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.refused(found.IDs(), err)
		}
		return false
	}
	s.fresh.saw(fresh, request.Limit, seen(found.Now, found.New))
	if request.Again { // what is too young to be repeated may have been due before what is not
		s.again.saw(again, request.Limit, seen(found.Now-s.dispatch.after.Milliseconds(), found.Old))
		if len(found.Old) < request.Limit {
			s.nextAgain = now.Add(jittered(s.dispatch.after / againPerAfter))
		}
	}
	s.accepted(len(found.New) + len(found.Old))
	return max(len(found.New), len(found.Old)) >= request.Limit
}

// A sweep looks in one place.
const sweepLane = ""

var sweepLanes = []string{sweepLane}

// seen is what a look found, as marks have it.
func seen(now int64, notices []store.Notice) store.Claim {
	found := store.Claim{Now: now}
	for _, n := range notices {
		found.Runs = append(found.Runs, store.ClaimedRun{Workflow: sweepLane, RunAt: n.DueAt})
	}
	return found
}

// announce notes of runs that they are announced, and announces them: in one transaction, of which nothing stays if the queue refuses; or
// first the one and then the other, so that nothing is held while the queue is told. If this process dies between, they are announced
// again. took is the time of the look.
func (s *dispatchSweep) announce(ctx context.Context, request store.AnnounceRequest) (found store.Announcements, took time.Duration, err error) {
	d := s.dispatch
	look := func(ctx context.Context, on *store.Store) (err error) {
		began := time.Now()
		found, err = on.Announce(ctx, request)
		took = time.Since(began)
		return err
	}
	if d.inTx != nil {
		err = d.store.InTransaction(ctx, "dispatch runs", func(ctx context.Context, on *store.Store) error {
			if err := look(ctx, on); err != nil || len(found.IDs()) == 0 {
				return err
			}
			return d.tell(ctx, on.Tx(), found.IDs())
		})
		return found, took, err
	}
	if err := look(ctx, d.store); err != nil || len(found.IDs()) == 0 {
		return found, took, err
	}
	told, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err = d.tell(told, nil, found.IDs()); err != nil {
		d.takeBack(ctx, found.IDs())
	}
	return found, took, err
}

// refused makes the pause longer and the next batch smaller: the queue is down, or refuses one of the runs. One that was refused by
// itself is put aside, so that others come to their turn.
func (s *dispatchSweep) refused(ids []string, err error) {
	poll := s.worker.config.PollInterval
	s.pause = min(max(2*s.pause, 2*poll), 20*poll, maxClaimPause)
	var refused *refusal
	if !errors.As(err, &refused) {
		s.worker.trouble("dispatch runs", err)
		return
	}
	s.limit = max(s.limit/announceShrinks, 1)
	accepts := s.accepts
	s.accepts = false
	if len(ids) > 1 {
		s.dispatch.report("", refused)
		return
	}
	s.dispatch.report(ids[0], refused)
	s.aside = append(s.aside, ids[0])
	if accepts { // so it is the run
		s.asideUntil = time.Now().Add(s.dispatch.after)
	}
	if len(s.aside) > maxAside {
		s.takeUp()
	}
}

// accepted makes the next batch larger. What was put aside is tried again: at once when the queue has accepted something else, and after
// the pause when there is nothing else.
func (s *dispatchSweep) accepted(n int) {
	again := s.aside != nil && s.asideUntil.IsZero()
	if n > 0 {
		s.accepts, s.pause = true, 0
		s.limit = min(s.limit*announceShrinks, announceBatch)
	}
	if again {
		s.takeUp()
	} else {
		s.pause = 0
	}
}

// takeUp makes what was put aside the next to be announced, one by one.
func (s *dispatchSweep) takeUp() {
	s.aside, s.asideUntil, s.limit = nil, time.Time{}, 1
	s.fresh.lookAtAll()
}
