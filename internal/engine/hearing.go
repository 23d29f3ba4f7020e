package engine

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/notify"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// A hint is what other processes have said.
type hint struct {
	work   bool // something may be claimed
	queues bool // and does certainly wait in a queue
	news   bool // something may have come for runs that wait here
	lost   bool // a run may no longer be this worker's
}

// A hearing keeps hints until the worker follows them.
type hearing struct {
	token chan struct{} // there are some

	mu   sync.Mutex
	said hint
}

func newHearing() *hearing { return &hearing{token: make(chan struct{}, 1)} }

func (h *hearing) say(more hint) {
	if more == (hint{}) {
		return
	}
	h.mu.Lock()
	h.said.work = h.said.work || more.work
	h.said.queues = h.said.queues || more.queues
	h.said.news = h.said.news || more.news
	h.said.lost = h.said.lost || more.lost
	h.mu.Unlock()
	select {
	case h.token <- struct{}{}:
	default:
	}
}

func (h *hearing) take() (said hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	said, h.said = h.said, hint{}
	return said
}

// listenToOthers begins to hear them, and returns what ends that.
func (w *worker) listenToOthers(ctx context.Context, keepers *sync.WaitGroup) (stop func()) {
	if w.alarms == nil {
		return func() {}
	}
	keepers.Go(func() { w.followHints(ctx) })
	done := w.engine.ears.Need()
	return func() {
		done()
		w.alarms.stop()
	}
}

// ended tells of a run that has ended here.
func (w *worker) ended(final *store.Run) {
	w.engine.awaits.Finished(final)
	w.engine.tell.Tell(notify.Message{Runs: []string{final.ID}})
}

// due says that a run is to be claimed after a time.
func (w *worker) due(in time.Duration) {
	if w.alarms != nil {
		w.alarms.set(in)
	}
}

// ring says that the time of such a run has come. Without the others' hints polls find it soon enough.
func (w *worker) ring() {
	if w.engine.ears.Hears() {
		w.hearing.say(hint{work: true, queues: true})
	}
}

// followHints looks at what other processes have said, at its pace, until ctx ends.
func (w *worker) followHints(ctx context.Context) {
	var pace pace
	begun := w.begun.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.hearing.token:
		}
		now := time.Now()
		write.Wait(ctx, nil, max(pace.rest(now), spread(int(w.fleet.Load()))))
		said := w.hearing.take()
		w.followHint(said)
		if said.news {
			w.newsNow(ctx)
		}
		before := begun
		begun = w.begun.Load()
		pace.looked(time.Now(), begun-before)
	}
}

func (w *worker) followHint(said hint) {
	if said.lost {
		w.beatSoon()
	}
	if said.work { // as a poll does: runs that start here keep their slots
		w.look()
		w.nudge()
		w.mu.Lock()
		w.hintQueues()
		w.mu.Unlock()
		w.nudgeSweep()
	}
	if said.queues {
		w.lookAtQueues()
	}
}

// newsNow is the duty, out of its turn.
func (w *worker) newsNow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	if err := w.lookForNews(ctx); err != nil && ctx.Err() == nil {
		w.trouble("look for what has come", err)
	}
}

// beatSoon makes the next heartbeat come at once: it tells which runs are no longer this worker's.
func (w *worker) beatSoon() {
	select {
	case w.beat <- struct{}{}:
	default:
	}
}

// A pace is how soon a worker looks again that is told of work again and again. While it finds some it keeps up with what it hears;
// while others are always faster it looks less and less often, down to what it would without being told. Pure.
type pace struct {
	every time.Duration
	next  time.Time
}

const (
	minPace = 10 * time.Millisecond
	maxPace = 250 * time.Millisecond
)

func (p *pace) rest(now time.Time) time.Duration { return max(p.next.Sub(now), 0) }

// looked notes a look, and how many runs have begun since the one before.
func (p *pace) looked(now time.Time, begun int64) {
	p.every = min(2*p.every, maxPace)
	if begun > 0 || now.Sub(p.next) > maxPace {
		p.every = minPace
	}
	p.next = now.Add(p.every)
}

// spread keeps the workers of a large fleet, who are all told at once, from asking all at once: each takes some tenths of a
// millisecond of the server.
func spread(fleet int) time.Duration {
	const each, most = 100 * time.Microsecond, 10 * time.Millisecond
	if fleet < 2 {
		return 0
	}
	return rand.N(min(time.Duration(fleet)*each, most))
}

// heardPoll is the longest pause between two polls while other processes are heard, for what is not: two thirds of it, jittered.
const heardPoll = write.HeardPoll

// poll is how often, about, this worker looks for what nobody has told it of.
func (w *worker) poll() time.Duration {
	if !w.engine.ears.Hears() {
		return w.config.PollInterval
	}
	return max(w.config.PollInterval, heardPoll*2/3)
}

// rarely makes a duty that is due with every poll as rare as polls are.
func (w *worker) rarely(do func(context.Context) error) func(context.Context) error {
	var last time.Time
	return func(ctx context.Context) error {
		if w.engine.ears.Hears() && time.Since(last) < heardPoll-w.config.PollInterval*3/2 {
			return nil
		}
		last = time.Now()
		return do(ctx)
	}
}
