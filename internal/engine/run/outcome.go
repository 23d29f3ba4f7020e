package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

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
	r.tellOver(event)
	r.settle(final)
	if r.awaited != "" {
		r.env.ChildEnded(r.parentID, r.awaited)
	}
	r.reportUnread()
}

// refused is the failure of a run or a step whose row the server refuses.
func refused(err error) *store.Error {
	e := store.NewError(fmt.Errorf("the database refuses what is to be recorded: %w", err)).Reduced()
	e.Code = codeRefused
	return e
}

// refusedPause is how long a run is left alone of which nothing can be recorded.
const refusedPause = time.Minute

// finish writes the end. What has come meanwhile does not keep the run from ending; it is only to be known.
func (r *Run) finish(output json.RawMessage, failure *store.Error) (*store.Run, error) {
	final := &store.Run{ID: r.id, Workflow: r.workflow, Status: store.RunCompleted, Output: output}
	if failure != nil {
		final.Status, final.Output, final.Err = store.RunFailed, nil, failure
	}
	r.mu.Lock()
	seen := r.inbox.seen
	r.mu.Unlock()
	row := &store.End{
		Owned: r.owned, Status: final.Status, Output: final.Output, Err: failure, WakeSeq: &seen,
		ParentID: r.parentID, ParentStep: r.awaited,
	}
	outcome, err := r.persist(row)
	if outcome == store.Woken && err == nil {
		r.Woken()
		row.WakeSeq = nil
		_, err = r.persist(row)
	}
	return final, err
}

// reportUnread tells which signals the run has left behind. What came and was waited for is accounted for without a look.
func (r *Run) reportUnread() {
	r.mu.Lock()
	came := r.inbox.seen
	for _, step := range r.recorded {
		if came == 0 { // all, or there was none
			break
		}
		if step.SignalSeq > 0 || step.Kind == store.CallStep && step.ChildID != "" {
			came--
		}
	}
	unsure := came > 0 || r.inbox.dirty
	r.mu.Unlock()
	if !unsure {
		return
	}
	names, err := r.env.Store.UnreadSignals(context.Background(), r.id)
	if err != nil {
		r.tell(write.Event{Kind: write.Trouble, Op: "look for unread signals", Err: err})
	} else if len(names) > 0 {
		r.tell(write.Event{Kind: write.SignalsUnread, Signals: names})
	}
}

// block suspends a run that cannot go on as things are. It is tried again, with growing pauses; once its time is over it fails.
func (r *Run) block(problem *store.Error) {
	expired, err := r.writeBlock(problem)
	if isRefusal(err) { // its text cannot be stored, perhaps
		problem = problem.Reduced()
		expired, err = r.writeBlock(problem)
	}
	switch {
	case err != nil:
		r.release(err, refusedPause)
	case expired:
		r.end(nil, problem)
	default:
		r.tellOver(write.Event{Kind: write.RunBlocked, Err: problem})
		r.settle(nil)
	}
}

// Block blocks a claimed run that cannot even begin, for as long as the lease lasts.
func Block(lease context.Context, env *Env, claimed store.ClaimedRun, problem *store.Error) {
	settleUnexecuted(lease, env, claimed, func(r *Run) { r.block(problem) })
}

// Fail ends a run that must not be executed once more, for as long as the lease lasts.
func Fail(lease context.Context, env *Env, doomed store.ClaimedRun) {
	settleUnexecuted(lease, env, doomed, func(r *Run) { r.end(nil, r.doomed()) })
}

func settleUnexecuted(lease context.Context, env *Env, claimed store.ClaimedRun, write func(*Run)) {
	r := New(env, claimed, nil, store.History{}, func(final *store.Run) {
		if final != nil {
			env.Ended(final)
		}
	})
	stop := context.AfterFunc(lease, func() { r.Lose(context.Cause(lease)) })
	defer stop()
	defer r.loseOwn(nil)
	write(r)
}

func (r *Run) writeBlock(problem *store.Error) (expired bool, err error) {
	err = r.repeat("block run", func(ctx context.Context) (err error) {
		expired, err = r.env.Store.BlockRun(ctx, r.owned, problem, r.env.BlockedFor)
		return err
	})
	return expired, err
}

// park suspends the run until the first of what it waits for. It is called again, in place, when another goroutine of it had
// something to do, or something has come meanwhile.
func (r *Run) park(c *call) (again bool) {
	r.awaitAttempts()
	r.mu.Lock()
	refused, row := c.refused, c.parkRow()
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
	outcome, err := r.persist(row)
	switch {
	case err != nil:
		r.release(err, 0)
	case outcome == store.Woken:
		r.Woken()
		return true
	default:
		event := write.Event{Kind: write.RunParked, Reason: row.For, WaitsFor: row.WaitsFor}
		if row.WakeIn != nil {
			event.Next = *row.WakeIn
			r.env.Due(event.Next)
		}
		r.tellOver(event)
		r.settle(nil)
		if r.unsure() { // it came for the parked run before anybody here knew that it is parked
			r.env.Created(r.queue, 1)
		}
	}
	return false
}

// release gives up a run that is still ours, for anybody to claim.
func (r *Run) release(cause error, delay time.Duration) {
	defer r.settle(nil)
	if errors.Is(cause, store.ErrRunLost) {
		r.tellOver(write.Event{Kind: write.RunLost})
		return
	}
	r.tellOver(write.Event{Kind: write.RunHandedBack, Err: cause})
	r.env.Release(r.owned, r.queue, delay)
}
