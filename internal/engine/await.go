package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// The poll of awaited runs: soon at first, and while some end, then ever more slowly.
const (
	firstPoll  = 10 * time.Millisecond
	pollGrowth = 1.6
	maxPoll    = time.Second
	pollBatch  = 1000 // runs
	pollShare  = 10   // at least so many times what a statement of the poll takes passes until the next
)

// An awaiter tells callers how runs ended. Runs that end in this process are told at once and cost no query. All others are
// looked up when somebody begins to wait for them, those of many callers in one statement, and then share one poll. Its
// goroutine lives while there is somebody to tell.
type awaiter struct {
	store *store.Store

	mu      sync.Mutex
	waiting map[string]map[chan answer]bool // by run id
	here    map[string]*Watch               // runs that this process executes
	polling bool
	fresh   []string      // runs that are not looked up yet
	hurry   chan struct{} // one token: there are such
	closed  error
	closing chan struct{}
	stop    context.CancelFunc
	poller  sync.WaitGroup
}

// A Watch is told when this process no longer executes a run, and how the run ended if it did.
type Watch struct {
	ended    chan struct{}
	finished *store.Run // once ended is closed; nil: the run goes on elsewhere
}

type answer struct {
	run store.Run
	err error
}

func newAwaiter(st *store.Store) *awaiter {
	return &awaiter{
		store: st, waiting: make(map[string]map[chan answer]bool), here: make(map[string]*Watch),
		hurry: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// await returns the run once it is finished. The watch, if there is one, is of an execution here, and knows the end of a
// run that is completed already; a failed one may have been resumed since.
func (a *awaiter) await(ctx context.Context, id string, watch *Watch) (store.Run, error) {
	if watch == nil || isClosed(watch.ended) && (watch.finished == nil || watch.finished.Status != store.RunCompleted) {
		watch = a.watch(id)
	}
	for ; watch != nil; watch = a.watch(id) { // here again, perhaps
		select {
		case <-watch.ended:
			if watch.finished != nil {
				return *watch.finished, nil
			}
		case <-ctx.Done():
			return store.Run{}, context.Cause(ctx)
		case <-a.closing:
			return store.Run{}, a.closed
		}
	}
	return a.awaitElsewhere(ctx, id)
}

// watch returns the watch of a run that this process executes, nil for any other.
func (a *awaiter) watch(id string) *Watch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.here[id]
}

func (a *awaiter) awaitElsewhere(ctx context.Context, id string) (store.Run, error) {
	told := make(chan answer, 1)
	if err := a.join(id, told); err != nil {
		return store.Run{}, err
	}
	defer a.part(id, told)
	select {
	case answer := <-told:
		return answer.run, answer.err
	case <-ctx.Done():
		return store.Run{}, context.Cause(ctx)
	}
}

func (a *awaiter) join(id string, told chan answer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed != nil {
		return a.closed
	}
	if a.waiting[id] == nil {
		a.waiting[id] = make(map[chan answer]bool)
	}
	a.waiting[id][told] = true
	a.fresh = append(a.fresh, id)
	if !a.polling {
		a.polling = true
		ctx, stop := context.WithCancel(context.Background())
		a.stop = stop
		a.poller.Go(func() { a.poll(ctx) })
	}
	select {
	case a.hurry <- struct{}{}:
	default:
	}
	return nil
}

func (a *awaiter) part(id string, told chan answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting[id], told)
	if len(a.waiting[id]) == 0 {
		delete(a.waiting, id)
	}
}

// hold says that this process executes the run: it need not be polled.
func (a *awaiter) hold(id string) *Watch {
	watch := &Watch{ended: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.here[id] = watch
	return watch
}

// drop says that it no longer does: the run finished, or goes on elsewhere when finished is nil.
func (a *awaiter) drop(id string, watch *Watch, finished *store.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.here[id] == watch { // it may be here again already
		delete(a.here, id)
	}
	watch.finished = finished
	close(watch.ended)
	if finished != nil {
		a.tell(id, answer{run: *finished})
	}
}

// tell expects mu to be held. Each channel takes one answer, and is told once.
func (a *awaiter) tell(id string, answer answer) {
	for told := range a.waiting[id] {
		told <- answer
	}
	delete(a.waiting, id)
}

// poll looks up the fresh ones at once, and asks for all again and again, a batch at a time, until nobody waits.
func (a *awaiter) poll(ctx context.Context) {
	pause, ended := firstPoll, 0
	due := time.Now().Add(pause)
	var round []string // what is left of it
	for {
		wait(ctx, a.hurry, time.Until(due))
		fresh, over := a.takeFresh(ctx)
		if over {
			return
		}
		if len(fresh) > 0 {
			a.ask(ctx, fresh)
			pause = firstPoll
			if soon := time.Now().Add(pause); len(round) == 0 && soon.Before(due) {
				due = soon
			}
		}
		asked := time.Now()
		if asked.Before(due) {
			continue
		}
		if len(round) == 0 {
			round, ended = a.elsewhere(), 0
		}
		batch := round[:min(len(round), pollBatch)]
		round = round[len(batch):]
		ended += a.ask(ctx, batch)
		rest := min((pollShare-1)*time.Since(asked), maxPoll)
		if len(round) == 0 {
			pause = min(time.Duration(float64(pause)*pollGrowth), maxPoll)
			if ended > 0 {
				pause = firstPoll
			}
			rest = max(rest, pause)
		}
		due = time.Now().Add(rest)
	}
}

// takeFresh returns the runs to be looked up, or that nobody waits any more.
func (a *awaiter) takeFresh(ctx context.Context) (ids []string, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids, a.fresh = a.fresh, nil
	if len(a.waiting) == 0 || ctx.Err() != nil {
		a.polling = false
		return nil, true
	}
	return ids, false
}

// elsewhere returns the awaited runs that this process does not execute.
func (a *awaiter) elsewhere() (ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.waiting {
		if a.here[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// ask tells the callers of the runs that have ended, and returns how many there were. An error is not an answer: the
// database may be back at the next poll. Callers have their own bounds.
func (a *awaiter) ask(ctx context.Context, ids []string) (ended int) {
	for batch := range slices.Chunk(ids, pollBatch) {
		if finished, unknown, err := a.store.Ended(ctx, batch); err == nil {
			a.tellAll(finished, unknown)
			ended += len(finished) + len(unknown)
		}
	}
	return ended
}

func (a *awaiter) tellAll(finished []store.Run, unknown []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range finished {
		a.tell(finished[i].ID, answer{run: finished[i]})
	}
	for _, id := range unknown {
		a.tell(id, answer{err: store.ErrRunNotFound})
	}
}

// close ends every wait with err and waits for the poll to end.
func (a *awaiter) close(err error) {
	a.mu.Lock()
	if a.closed == nil {
		a.closed = err
		close(a.closing)
	}
	for id := range a.waiting {
		a.tell(id, answer{err: a.closed})
	}
	if a.stop != nil {
		a.stop()
	}
	a.mu.Unlock()
	a.poller.Wait()
}
