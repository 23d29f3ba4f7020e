package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// The poll of awaited runs: soon at first, for runs that are short, then ever more slowly.
const (
	firstPoll  = 10 * time.Millisecond
	pollGrowth = 1.6
	maxPoll    = time.Second
)

// An awaiter tells callers how runs ended. Runs that end in this process are told at once and cost no query; all others
// share one poll, whose goroutine lives while there is somebody to tell.
type awaiter struct {
	store *store.Store

	mu      sync.Mutex
	waiting map[string]map[chan answer]bool // by run id
	here    map[string]int                  // runs that this process executes
	polling bool
	hurry   chan struct{} // one token: somebody new is waiting
	closed  error
	stop    context.CancelFunc
	poller  sync.WaitGroup
}

type answer struct {
	run store.Run
	err error
}

func newAwaiter(st *store.Store) *awaiter {
	return &awaiter{
		store: st, waiting: make(map[string]map[chan answer]bool), here: make(map[string]int),
		hurry: make(chan struct{}, 1),
	}
}

func (a *awaiter) await(ctx context.Context, id string) (store.Run, error) {
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
func (a *awaiter) hold(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.here[id]++
}

// drop says that it no longer does: it finished, or goes on elsewhere when finished is nil.
func (a *awaiter) drop(id string, finished *store.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.here[id]--; a.here[id] == 0 {
		delete(a.here, id)
	}
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

// poll asks for all awaited runs in one statement until nobody waits.
func (a *awaiter) poll(ctx context.Context) {
	pause := firstPoll
	for {
		if wait(ctx, a.hurry, pause) { // others may join at the same time: one poll for all of them
			pause = firstPoll
			wait(ctx, nil, pause)
		} else {
			pause = min(time.Duration(float64(pause)*pollGrowth), maxPoll)
		}
		ids, done := a.elsewhere(ctx)
		if done {
			return
		}
		if len(ids) == 0 {
			continue
		}
		// An error is not an answer: the database may be back at the next poll. Callers have their own bounds.
		if runs, err := a.store.Outcomes(ctx, ids); err == nil {
			a.tellAll(ids, runs)
		}
	}
}

// elsewhere returns the awaited runs that this process does not execute, or that the poll is over.
func (a *awaiter) elsewhere(ctx context.Context) (ids []string, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 || ctx.Err() != nil {
		a.polling = false
		return nil, true
	}
	for id := range a.waiting {
		if a.here[id] == 0 {
			ids = append(ids, id)
		}
	}
	return ids, false
}

func (a *awaiter) tellAll(ids []string, runs map[string]store.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		run, found := runs[id]
		switch {
		case !found:
			a.tell(id, answer{err: store.ErrRunNotFound})
		case run.Status.Finished():
			a.tell(id, answer{run: run})
		}
	}
}

// close ends every wait with err and waits for the poll to end.
func (a *awaiter) close(err error) {
	a.mu.Lock()
	a.closed = errors.Join(a.closed, err)
	for id := range a.waiting {
		a.tell(id, answer{err: a.closed})
	}
	if a.stop != nil {
		a.stop()
	}
	a.mu.Unlock()
	a.poller.Wait()
}
