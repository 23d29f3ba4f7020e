package run

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// An attempt is a step in flight: from before its function is called until what became of it is recorded.
type attempt struct {
	*step
	number  int // from 1
	started time.Time
	context attemptContext
	span    *write.Span
	entered bool             // somebody was told that it began, and not how it ended
	row     store.Checkpoint // room for the record of a success
	ctx     context.Context  // while the application has it, nil before and after; guarded, as what follows, by the run's mu
	reports
}

func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

func (s *step) newAttempt() *attempt {
	a := &s.first
	if a.step != nil {
		a = new(attempt)
	}
	a.step, a.number, a.started = s, 1, time.Now()
	return a
}

// attempt tries the step once and records the outcome, good or bad.
func (s *step) attempt(ctx context.Context, o *Options, once try) error {
	a := s.newAttempt()
	if s.recorded != nil && s.recorded.Attempts != nil {
		a.number += s.recorded.Attempts.Count
	}
	if err := s.call.begin(ctx, a); err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned { // runtime.Goexit unwinds the workflow's function too, which is then called again
			_ = a.fail(o, errExited)
			s.call.interrupt(errAgain)
		}
		a.leave()
		s.call.done(a)
	}()
	if err := a.mark(); err != nil {
		returned = true
		return err
	}
	recorded, err := a.once(ctx, o, once)
	returned = true
	a.back()
	if err != nil {
		return a.failed(o, err)
	}
	if o.Exact {
		if recorded, err = a.exact(); err != nil {
			return err
		}
	}
	s.remember(recorded)
	return nil
}

// failed records a failure of the step. Any other error is for the function to return.
func (a *attempt) failed(o *Options, err error) error {
	var failed *failure
	if errors.As(err, &failed) {
		return a.fail(o, failed)
	}
	return err
}

// once tries once.
func (a *attempt) once(ctx context.Context, o *Options, once try) (*record, error) {
	a.context.begin(ctx, a, o.Timeout)
	defer a.context.end()
	recorded, err := once(a.enter(), a)
	if err != nil {
		return nil, a.blame(err, context.Cause(&a.context))
	}
	if a.call.run.env.Observer.Wants(write.StepSucceeded) {
		a.tellOver(write.Event{Kind: write.StepSucceeded})
	}
	return recorded, nil
}

// blame finds out what an attempt has failed for. A failure after the run was lost, or after its caller gave up, is most likely due to
// that and not to the step, so the error is then that cause. The same holds after a checkpoint was refused: nothing more can be
// recorded under this epoch.
func (a *attempt) blame(err, cause error) error {
	var failed *failure
	switch {
	case !errors.As(err, &failed):
		return a.call.run.lost(err)
	case cause == nil, failed.err.Code == codeRefused:
		return failed
	case errors.Is(cause, errStepTimeout):
		return &failure{err: errStepTimeout}
	default:
		return cause
	}
}

var errStepTimeout = &store.Error{Code: codeStepTimeout, Message: "the attempt took longer than the step's timeout"}

// back notes that the code of the application has returned.
func (a *attempt) back() {
	a.call.run.mu.Lock()
	defer a.call.run.mu.Unlock()
	a.ctx = nil
}

// mark writes that a suspect's step is about to be called: if the worker dies now, this step is to blame. Steps of other runs are
// not marked, since that would cost a third of the throughput.
func (a *attempt) mark() error {
	r := a.call.run
	if !r.suspect {
		return nil
	}
	err := r.repeat("mark step", func(ctx context.Context) error {
		outcome, err := r.env.Store.MarkStep(ctx, r.owned, a.key, a.kind, a.seq)
		switch {
		case err != nil:
			return err
		case outcome == store.Lost:
			return store.ErrRunLost
		case outcome == store.Locked:
			return fmt.Errorf("%w", store.ErrLockTimeout)
		}
		return nil
	})
	switch {
	case isRefusal(err): // no record of this step can be made
		return a.call.doom(refused(err))
	case err != nil:
		return r.lost(err)
	default:
		return nil
	}
}

// success is the record of a result.
func (a *attempt) success(result json.RawMessage) *store.Checkpoint {
	r := a.call.run
	a.row = store.Checkpoint{
		Owned: r.owned, Name: a.key, Kind: a.kind, Seq: a.seq, Took: time.Since(a.started), Result: result,
		Again: a.recorded != nil || r.suspect,
	}
	return &a.row
}

// checkpoint records a success and returns what is recorded, which is an earlier success if there was one.
func (s *step) checkpoint(c *store.Checkpoint) (*record, error) {
	outcome, err := s.call.run.persist(c)
	switch {
	case isRefusal(err): // the result cannot be stored, and never will be
		return nil, &failure{err: refused(err), final: true}
	case err != nil:
		return nil, err
	case outcome == store.Exists:
		return s.read()
	default:
		return newRecord(c.Step()), nil
	}
}

// read returns the step as the database has it.
func (s *step) read() (*record, error) {
	r := s.call.run
	var recorded store.Step
	err := r.repeat("read step", func(ctx context.Context) (err error) {
		recorded, err = r.env.Store.RecordedStep(ctx, r.owned, s.key)
		return err
	})
	return newRecord(recorded), err
}

// exact is read for a step that has just succeeded.
func (a *attempt) exact() (*record, error) {
	recorded, err := a.read()
	if err != nil {
		return nil, a.call.run.lost(err)
	}
	return recorded, nil
}

// transact tries a transactional step: f's writes and the record commit together.
func (a *attempt) transact(
	ctx context.Context, isolation sql.IsolationLevel, f func(context.Context, *sql.Tx) (json.RawMessage, error),
) (*record, error) {
	for pause := lockPause; ; pause = min(2*pause, maxPause) {
		recorded, err := a.call.run.env.Store.CheckpointTx(ctx, a.success(nil), isolation, f)
		var failed *failure
		switch {
		case errors.Is(err, store.ErrTxMisused):
			return nil, txFailure(err)
		case err == nil:
			return newRecord(recorded), nil
		case errors.Is(err, store.ErrRunLost), errors.As(err, &failed):
			return nil, err
		case ctx.Err() != nil:
			return nil, &failure{err: store.NewError(err)}
		case !errors.Is(err, store.ErrLockTimeout):
			return nil, txFailure(err)
		}
		// A stranger's transaction holds the run. Ours has left nothing behind, and waiting is no failure of the step.
		write.Wait(ctx, nil, pause)
	}
}

// txFailure is the failure of a transaction. What f did to it will be no different the next time.
func txFailure(err error) *failure {
	failed := failureOf(err)
	if errors.Is(err, store.ErrTxMisused) {
		failed.err.Code, failed.final = codeMisuse, true
	}
	return failed
}

// fail records a failed attempt, with the time of the next one if there is to be one.
func (a *attempt) fail(o *Options, failed *failure) error {
	r := a.call.run
	row := &store.Failure{
		Owned: r.owned, Name: a.key, Kind: a.kind, Seq: a.seq, Took: time.Since(a.started), Err: failed.err,
		Count: a.number, Policy: o.Retry,
	}
	if a.recorded != nil && a.recorded.Attempts != nil {
		row.Policy = a.recorded.Attempts.Policy // resolved once, with the first failure
	}
	if !failed.final && (row.Policy.MaxAttempts < 0 || row.Count < row.Policy.MaxAttempts) {
		delay := backoff(row.Policy, row.Count, rand.Float64())
		if failed.after != nil {
			delay = max(0, *failed.after)
		}
		row.RetryIn = &delay
	}
	outcome, err := r.persist(row)
	if isRefusal(err) { // the text, perhaps: an encoding may lack it
		row.Err = row.Err.Reduced()
		outcome, err = r.persist(row)
	}
	switch {
	case isRefusal(err): // no record of this step can be made
		return a.call.doom(refused(err))
	case err != nil:
		return r.lost(err)
	case outcome == store.Exists: // it had succeeded, as the answer to an earlier write would have said
		recorded, err := a.exact()
		if err == nil {
			a.remember(recorded)
		}
		return err
	}
	var before *store.Step
	if a.recorded != nil {
		before = &store.Step{Attempts: a.recorded.Attempts}
	}
	a.remember(newRecord(row.Step(before)))
	event := write.Event{Kind: write.StepFailed, Attempts: row.Policy.MaxAttempts, Err: row.Err}
	if row.RetryIn != nil {
		event.Kind, event.Next = write.StepRetried, *row.RetryIn
	}
	a.tellOver(event)
	return nil
}

// backoff returns the delay after the nth failed attempt: exponential, capped, then reduced by a random part of the jitter, so
// that what failed together is not tried together again. random is in [0, 1).
func backoff(p store.RetryPolicy, n int, random float64) time.Duration {
	delay := float64(p.FirstDelay) * math.Pow(p.Factor, float64(n-1))
	delay = min(delay, float64(p.MaxDelay))
	return time.Duration(delay * (1 - p.Jitter*random))
}
