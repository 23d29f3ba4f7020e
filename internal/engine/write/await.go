package write

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
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

// HeardPoll is the longest pause between polls while other processes are heard: for what was not heard all the same.
const HeardPoll = 2 * time.Second

// Ears hear how runs end in other processes.
type Ears interface {
	// Need says that somebody needs to hear, until done is called.
	Need() (done func())
	// Hears reports whether they do.
	Hears() bool
}

// Says tells in a sentence what a run waits for.
type Says func(store.Whereabouts) string

// An Awaiter tells callers how runs ended. Runs that complete in this process are told at once and cost no query. All others are
// looked up when somebody begins to wait for them, when they have ended here and when they are heard of, those of many callers in one
// statement, and share one poll, which is rare while others are heard. Its goroutine lives while there is somebody to tell.
//
// A failed or cancelled run may have been resumed before a caller asked, and this process learns of its end late: so only rows tell of
// such an end, read after the caller asked.
type Awaiter struct {
	store *store.Store
	holds *Holds
	ears  Ears
	says  Says

	mu      sync.Mutex
	waiting map[string]map[chan answer]caller // by run id
	looks   uint64                            // look-ups that were ever sent
	polling bool
	trouble error         // of the newest look-up; nil when it was answered
	fresh   []string      // runs that are not looked up yet
	hurry   chan struct{} // one token: there are such
	closed  error
	closing chan struct{}
	stop    context.CancelFunc
	poller  sync.WaitGroup
}

// source says whom a caller believes.
type source int

const (
	anyone  source = iota // this process too, if the run ends here
	theRows               // the database alone
)

// A caller waits for the end of a run.
type caller struct {
	from  source
	after uint64 // look-ups until then were sent before it came, and are no answer to it
}

type answer struct {
	run store.Run
	err error
}

// NewAwaiter returns an awaiter that knows of the runs that this process holds, and hears of others while somebody waits.
func NewAwaiter(st *store.Store, holds *Holds, ears Ears, says Says) *Awaiter {
	return &Awaiter{
		store: st, holds: holds, ears: ears, says: says, waiting: make(map[string]map[chan answer]caller),
		hurry: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// Await returns the run once it is finished. The hold, if there is one, is of an execution here. When ctx ends first, the error says
// what the run was waiting for, and why look-ups failed if they did.
func (a *Awaiter) Await(ctx context.Context, id string, hold *Hold) (store.Run, error) {
	if hold == nil {
		hold = a.holds.Find(id)
	}
	for ; hold != nil; hold = a.holds.Find(id) { // here again, perhaps
		select {
		case <-hold.ended:
			if isCompleted(hold.final) {
				return *hold.final, nil
			}
		case <-ctx.Done():
			return store.Run{}, a.explain(ctx, id)
		case <-a.closing:
			return store.Run{}, a.closed
		}
	}
	return a.await(ctx, id, anyone)
}

// AwaitRow is Await for a caller to whom the row as the database has it matters, even if this process knows the end.
func (a *Awaiter) AwaitRow(ctx context.Context, id string) (store.Run, error) {
	return a.await(ctx, id, theRows)
}

func (a *Awaiter) await(ctx context.Context, id string, from source) (store.Run, error) {
	told := make(chan answer, 1)
	if err := a.join(id, told, from); err != nil {
		return store.Run{}, err
	}
	defer a.part(id, told)
	select {
	case answer := <-told:
		return answer.run, answer.err
	case <-ctx.Done():
		return store.Run{}, a.explain(ctx, id)
	}
}

// lastLook bounds the look-up with which a wait that timed out ends.
const lastLook = time.Second

// explain returns why ctx ended, with what the run was waiting for. A caller that cancelled wants to be gone; only one whose time
// is over gets a look-up.
func (a *Awaiter) explain(ctx context.Context, id string) error {
	cause := store.Why(ctx)
	a.mu.Lock()
	trouble := a.trouble
	a.mu.Unlock()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
		defer cancel()
		where, err := a.store.Whereabouts(look, id)
		if err == nil {
			return fmt.Errorf("%w: %s", cause, a.says(where))
		}
		trouble = err
	}
	if trouble != nil {
		return fmt.Errorf("%w: how it stands is not known: %w", cause, trouble)
	}
	return cause
}

func (a *Awaiter) join(id string, told chan answer, from source) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed != nil {
		return a.closed
	}
	if a.waiting[id] == nil {
		a.waiting[id] = make(map[chan answer]caller)
	}
	a.waiting[id][told] = caller{from, a.looks}
	a.look(id)
	if !a.polling {
		a.polling = true
		ctx, stop := context.WithCancel(context.Background())
		a.stop = stop
		a.poller.Go(func() { a.poll(ctx) })
	}
	return nil
}

// look has a run looked up at once. It expects mu to be held.
func (a *Awaiter) look(id string) {
	a.fresh = append(a.fresh, id)
	select {
	case a.hurry <- struct{}{}:
	default:
	}
}

func (a *Awaiter) part(id string, told chan answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting[id], told)
	if len(a.waiting[id]) == 0 {
		delete(a.waiting, id)
	}
}

// isCompleted reports whether this is the end of a run that nobody can resume; nil is no end.
func isCompleted(final *store.Run) bool { return final != nil && final.Status == store.RunCompleted }

// Finished tells callers that a run has finished in this process.
func (a *Awaiter) Finished(run *store.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for told, caller := range a.waiting[run.ID] {
		if caller.from == theRows || !isCompleted(run) {
			a.look(run.ID)
			continue
		}
		told <- answer{run: *run}
		delete(a.waiting[run.ID], told)
	}
	if len(a.waiting[run.ID]) == 0 {
		delete(a.waiting, run.ID)
	}
}

// Heard says that there is news about runs: those of them that somebody waits for are looked up at once.
func (a *Awaiter) Heard(ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if a.waiting[id] != nil {
			a.look(id)
		}
	}
}

// HeardAll says that there is news about more runs than could be named.
func (a *Awaiter) HeardAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.waiting {
		a.look(id)
	}
}

// tell tells those who came before the given look-up was sent. It expects mu to be held. Each channel takes one answer, and is told once.
func (a *Awaiter) tell(id string, look uint64, answer answer) {
	for told, caller := range a.waiting[id] {
		if caller.after < look {
			told <- answer
			delete(a.waiting[id], told)
		}
	}
	if len(a.waiting[id]) == 0 {
		delete(a.waiting, id)
	}
}

// poll looks up the fresh ones at once, and asks for all again and again, a batch at a time, until nobody waits.
func (a *Awaiter) poll(ctx context.Context) {
	defer a.ears.Need()()
	pause, ended := a.first(), 0
	due := time.Now().Add(pause)
	var round []string // what is left of it
	for {
		Wait(ctx, a.hurry, time.Until(due))
		fresh, over := a.takeFresh(ctx)
		if over {
			return
		}
		if len(fresh) > 0 {
			a.ask(ctx, fresh)
			pause = a.first()
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
			if ended > 0 || a.ears.Hears() {
				pause = a.first()
			}
			rest = max(rest, pause)
		}
		due = time.Now().Add(rest)
	}
}

// first is how soon runs are looked up again that were asked for or heard of.
func (a *Awaiter) first() time.Duration {
	if a.ears.Hears() {
		return HeardPoll
	}
	return firstPoll
}

// takeFresh returns the runs to be looked up, or that nobody waits any more.
func (a *Awaiter) takeFresh(ctx context.Context) (ids []string, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids, a.fresh = a.fresh, nil
	if len(a.waiting) == 0 || ctx.Err() != nil {
		a.polling = false
		return nil, true
	}
	return ids, false
}

// elsewhere returns the awaited runs that this process does not execute, and those whose row is asked for.
func (a *Awaiter) elsewhere() (ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, callers := range a.waiting {
		wantsRow := func(c caller) bool { return c.from == theRows }
		if a.holds.Find(id) == nil || slices.ContainsFunc(slices.Collect(maps.Values(callers)), wantsRow) {
			ids = append(ids, id)
		}
	}
	return ids
}

// ask tells the callers of the runs that have ended, and returns how many there were. An error is not an answer: the
// database may be back at the next poll. Callers have their own bounds.
func (a *Awaiter) ask(ctx context.Context, ids []string) (ended int) {
	for batch := range slices.Chunk(ids, pollBatch) {
		look := a.nextLook()
		finished, unknown, err := a.store.Ended(ctx, batch)
		a.tellAll(look, finished, unknown, err)
		ended += len(finished) + len(unknown)
	}
	return ended
}

// nextLook returns the number of a look-up that is about to be sent.
func (a *Awaiter) nextLook() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	return a.looks
}

func (a *Awaiter) tellAll(look uint64, finished []store.Run, unknown []string, trouble error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trouble = trouble
	for i := range finished {
		a.tell(finished[i].ID, look, answer{run: finished[i]})
	}
	for _, id := range unknown {
		a.tell(id, look, answer{err: store.ErrRunNotFound})
	}
}

// Close ends every wait with err and waits for the poll to end.
func (a *Awaiter) Close(err error) {
	a.mu.Lock()
	if a.closed == nil {
		a.closed = err
		close(a.closing)
	}
	for id := range a.waiting {
		a.tell(id, math.MaxUint64, answer{err: a.closed})
	}
	if a.stop != nil {
		a.stop()
	}
	a.mu.Unlock()
	a.poller.Wait()
}

// Wait returns at a token, after d, or when ctx ends, and reports whether it was a token.
func Wait(ctx context.Context, token <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-token:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
