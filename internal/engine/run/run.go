package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// Body is a workflow's function on encoded values.
type Body func(ctx context.Context, input json.RawMessage) (json.RawMessage, error)

// Env is what runs have in common: what they need of the worker that holds them.
type Env struct {
	Store    *store.Store
	Writer   *write.Writer
	Observer *write.Observer

	ParkAfter  time.Duration
	BlockedFor time.Duration
	MaxSteps   int

	// Draining is closed when every run is to stop before its next step.
	Draining <-chan struct{}

	// Release hands a run back, to be claimed by anybody after a delay.
	Release func(owned store.Owned, delay time.Duration)
}

// A Run is a run that this process owns, under one epoch. Two contexts end it. own ends when the run is no longer this process's, and
// everything ends with it. That of a call ends also when the run is to stop in good order (parked, draining); steps in flight
// may then finish.
type Run struct {
	id       string
	workflow string
	input    json.RawMessage
	owned    store.Owned
	deadline *time.Duration
	suspect  bool // workers have perhaps died of it
	wakeSeq  int64
	body     Body
	env      *Env

	own     context.Context
	loseOwn context.CancelCauseFunc
	settled func(final *store.Run) // tells the worker, once, that the run is over here
	ended   sync.Once              // somebody writes how the run ends; others wait for that

	mu       sync.Mutex
	over     bool               // settled was called
	recorded map[string]*record // by key
	seq      int                // of the newest step
	flights  []*attempt         // steps in flight
	changed  chan struct{}      // closed and forgotten whenever flights change; nil when nobody waits for that
	call     *call              // the newest
	stuck    reports            // of a function that outlives the run
}

// A record is a step as loaded or written. Frames of a step's call chain hold pointers to it: stacks of many runs are memory.
type record struct {
	store.Step
	at time.Time // when it was loaded or written: its WakeIn counts from then
}

// New returns a run that was claimed, with its recorded steps. settled is called once, when the run is over here: it has finished,
// or goes on elsewhere if final is nil. The function may outlive that.
func New(env *Env, claimed store.ClaimedRun, body Body, steps []store.Step, settled func(final *store.Run)) *Run {
	r := &Run{
		id: claimed.RunID, workflow: claimed.Workflow, input: claimed.Input, deadline: claimed.Deadline,
		owned: claimed.Owned, suspect: claimed.Suspect(), wakeSeq: claimed.WakeSeq,
		body: body, env: env, settled: settled,
		recorded: make(map[string]*record, len(steps)),
	}
	now := time.Now()
	for _, step := range steps {
		r.recorded[step.Name] = &record{Step: step, at: now}
		r.seq = max(r.seq, step.Seq)
	}
	r.own, r.loseOwn = context.WithCancelCause(base(r.deadline, now))
	return r
}

// base is the context under that of a run: it tells the deadline, which expire enforces.
func base(deadline *time.Duration, now time.Time) context.Context {
	if deadline == nil {
		return context.Background()
	}
	return deadlineContext{context.Background(), now.Add(*deadline)}
}

type deadlineContext struct {
	context.Context
	at time.Time
}

func (c deadlineContext) Deadline() (time.Time, bool) { return c.at, true }

// Owned returns what this process owns of the run.
func (r *Run) Owned() store.Owned { return r.owned }

// Lose stops the run at once: nothing more of it can be written here.
func (r *Run) Lose(cause error) {
	lost := errors.Is(cause, store.ErrRunLost)
	if lost {
		cause = errLost
	}
	r.loseOwn(cause)
	if r.settle(nil) && lost {
		r.tell(write.Event{Kind: write.RunLost})
	}
}

// settle tells the worker, once, and reports whether this was the time.
func (r *Run) settle(final *store.Run) bool {
	r.mu.Lock()
	over := r.over
	r.over = true
	r.mu.Unlock()
	if !over {
		r.settled(final)
	}
	return !over
}

// Execute calls the function until it ends, parks, is blocked or is lost, and writes what became of it. left is called when no
// code of the run goes on here any more.
func (r *Run) Execute(lease context.Context, left func()) {
	stop := context.AfterFunc(lease, func() { r.Lose(context.Cause(lease)) })
	leave := func() {
		stop()
		r.loseOwn(nil)
		r.settle(nil)
		left()
	}
	if r.deadline != nil && *r.deadline <= 0 {
		r.end(nil, errDeadline)
		leave()
		return
	}
	if r.deadline != nil {
		timer := time.AfterFunc(*r.deadline, r.expire)
		ended := leave
		leave = func() { timer.Stop(); ended() }
	}
	r.loop(leave)
}

func (r *Run) loop(leave func()) {
	var c *call
	done := false
	defer func() {
		if done {
			return
		}
		go func() { // the function was unwound by runtime.Goexit, and this goroutine with it
			if r.conclude(c) {
				r.loop(leave)
			} else {
				leave()
			}
		}()
	}()
	for again := true; again; {
		c = r.newCall(c)
		c.callBody()
		again = r.conclude(c)
	}
	done = true
	leave()
}

// errDeadline is what a run fails with when it is not finished in time.
var errDeadline = &store.Error{Code: codeDeadline, Message: "the run was not finished by its deadline"}

// expire ends a run whose deadline has passed, whatever its function does.
func (r *Run) expire() {
	r.mu.Lock()
	c := r.call
	r.mu.Unlock()
	if c != nil {
		c.interrupt(errDeadline)
	}
	r.end(nil, errDeadline)
}

// conclude does what follows from a call, and reports whether the function is to be called again.
func (r *Run) conclude(c *call) (again bool) {
	stopped, doomed, mismatched := c.close()
	switch {
	case r.own.Err() != nil:
		if !errors.Is(context.Cause(r.own), store.ErrRunLost) { // its worker stops, and was patient
			r.release(context.Cause(r.own), 0)
		}
	case errors.Is(stopped, errDeadline): // expire writes that too
		r.end(nil, errDeadline)
	case doomed != nil:
		r.end(nil, doomed)
	case mismatched != nil:
		r.block(mismatched)
	case errors.Is(stopped, errAgain):
		return true
	case errors.Is(stopped, errParked):
		return r.park(c)
	case stopped != nil:
		r.release(stopped, 0)
	default:
		if mismatch := r.unreached(c); mismatch != nil {
			r.block(mismatch)
			return false
		}
		if c.failed != nil {
			r.end(nil, c.failed.err)
			return false
		}
		r.end(c.output, nil)
	}
	return false
}

// end writes how the run ended: completed with output, or failed with failure. Of two callers the first one writes, and the other
// waits for it.
func (r *Run) end(output json.RawMessage, failure *store.Error) {
	r.ended.Do(func() { r.writeEnd(output, failure) })
}

func (r *Run) writeEnd(output json.RawMessage, failure *store.Error) {
	final, err := r.finish(output, failure)
	if isRefusal(err) && failure != nil { // its text cannot be stored, and never will be
		final, err = r.finish(nil, failure.Reduced())
	}
	if isRefusal(err) { // nor can the output, or anything like it
		final, err = r.finish(nil, refused(err))
	}
	if err != nil {
		r.release(err, refusedPause)
		return
	}
	event := write.Event{Kind: write.RunCompleted}
	if failure != nil {
		event = write.Event{Kind: write.RunFailed, Err: final.Err, Step: failure.Step}
	}
	r.tell(event)
	r.settle(final)
}

// refused is what a run or a step fails with whose row the server refuses.
func refused(err error) *store.Error {
	e := store.NewError(fmt.Errorf("the database refuses what is to be recorded: %w", err)).Reduced()
	e.Code = codeRefused
	return e
}

// refusedPause is how long a run is left alone of which nothing can be recorded.
const refusedPause = time.Minute

func (r *Run) finish(output json.RawMessage, failure *store.Error) (*store.Run, error) {
	final := &store.Run{ID: r.id, Workflow: r.workflow, Status: store.RunCompleted, Output: output}
	if failure != nil {
		final.Status, final.Output, final.Err = store.RunFailed, nil, failure
	}
	_, err := r.persist(&store.End{Owned: r.owned, Status: final.Status, Output: final.Output, Err: failure})
	return final, err
}

// block suspends a run that cannot go on as things are. It is tried again, with growing pauses, until its time is over.
func (r *Run) block(problem *store.Error) {
	failed := false
	err := r.repeat("block run", func(ctx context.Context) (err error) {
		failed, err = r.env.Store.BlockRun(ctx, r.owned, problem, r.env.BlockedFor)
		return err
	})
	switch {
	case err != nil:
		r.release(err, refusedPause)
	case failed:
		r.tell(write.Event{Kind: write.RunFailed, Err: problem})
		r.settle(nil) // the row has the whole error
	default:
		r.tell(write.Event{Kind: write.RunBlocked, Err: problem})
		r.settle(nil)
	}
}

// park suspends the run until the earliest of its waits, unless another goroutine of it had something to do: then it is called
// again, in place.
func (r *Run) park(c *call) (again bool) {
	r.awaitFlights()
	r.mu.Lock()
	refused, wakeIn := c.refused, max(0, time.Until(c.wakeAt))
	r.mu.Unlock()
	switch {
	case r.own.Err() != nil:
		return r.conclude(c)
	case isClosed(r.env.Draining):
		r.release(errDraining, 0)
		return false
	case refused:
		return true
	}
	outcome, err := r.persist(&store.Park{Owned: r.owned, WakeIn: &wakeIn, For: store.ForTime, WakeSeq: r.wakeSeq})
	switch {
	case err != nil:
		r.release(err, 0)
	case outcome == store.Woken: // what came is read by whoever claims it
		r.release(errParked, 0)
	default:
		r.tell(write.Event{Kind: write.RunParked, Next: wakeIn})
		r.settle(nil)
	}
	return false
}

// release gives up a run that is still ours, for anybody to claim.
func (r *Run) release(cause error, delay time.Duration) {
	defer r.settle(nil)
	if errors.Is(cause, store.ErrRunLost) {
		r.tell(write.Event{Kind: write.RunLost})
		return
	}
	r.tell(write.Event{Kind: write.RunHandedBack, Err: cause})
	r.env.Release(r.owned, delay)
}

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	lockPause  = 5 * time.Millisecond // first one, for a row that another transaction has locked
)

// persist sends a row until it is acknowledged or refused for good, for as long as the run is ours: what has happened must be
// recorded, and a database that was away for a moment must not make it happen twice. The row carries its guard and is safe to
// repeat. It is not cut short when the run seems lost; the guard knows. While a stranger's transaction holds the run the row
// waits here, in memory, and neither a connection nor the rows of others wait with it.
func (r *Run) persist(row store.Write) (outcome store.Outcome, err error) {
	locked := lockPause
	send := r.env.Writer.Write
	err = r.repeat("write", func(ctx context.Context) error {
		for {
			outcome, err = send(ctx, row)
			if err != nil || outcome != store.Locked || r.own.Err() != nil {
				break
			}
			write.Wait(r.own, nil, locked)
			locked = min(2*locked, maxPause)
		}
		if err == nil && (outcome == store.Lost || outcome == store.Locked) {
			err = store.ErrRunLost
		}
		if err != nil {
			send = r.env.Writer.Alone // the answer was lost, perhaps, and there is a row; or others are not to be refused with it
		}
		return err
	})
	return outcome, err
}

// isRefusal reports whether the database would refuse a row again, whoever grants or migrates what.
func isRefusal(err error) bool { return store.IsPermanent(err) && !store.IsForAWhile(err) }

// repeat calls do until it succeeds, is refused twice in a row, or the run is no longer ours.
func (r *Run) repeat(op string, do func(context.Context) error) error {
	refusals := 0
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(context.WithoutCancel(r.own))
		if err == nil || errors.Is(err, store.ErrRunLost) || r.own.Err() != nil {
			return err
		}
		if !isRefusal(err) {
			refusals = 0
		} else if refusals++; refusals == 2 {
			return err
		}
		r.tell(write.Event{Kind: write.Trouble, Op: op, Err: err})
		write.Wait(r.own, nil, pause)
	}
}

// tell observes an event of this run.
func (r *Run) tell(e write.Event) {
	e.RunID, e.Workflow = r.id, r.workflow
	r.env.Observer.Observe(e)
}

// unreached is a mismatch when steps are recorded that the function has not asked for: it is not the function that wrote them.
// A branch may have been left behind by a function that failed; its root has not.
func (r *Run) unreached(c *call) *store.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for prefix, n := range c.ahead {
		if n > 0 && (c.failed == nil || prefix == "") {
			return mismatch("the function returned without reaching recorded steps: %s", c.unreachedKeys(prefix))
		}
	}
	return nil
}

// mismatch is what a run is blocked with whose function does not do what it did before.
func mismatch(format string, args ...any) *store.Error {
	return &store.Error{Code: codeNondeterministic, Message: fmt.Sprintf(format, args...) +
		" (a workflow's function must do the same each time: use Patched for a change while runs are unfinished, or give a changed workflow another name)"}
}

// prefixOf returns the branch that a key belongs to.
func prefixOf(key string) string { return key[:strings.LastIndexByte(key, '/')+1] }
