package engine

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Final marks an error as one that no further attempt can mend.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

func isFinal(err error) bool {
	var final *finalError
	return errors.As(err, &final)
}

// attempts tries a step until it succeeds or has failed for good, and returns it as recorded. Between attempts the run
// waits as a sleep does.
func (r *run) attempts(
	ctx context.Context, key string, kind store.StepKind, step *record, o *Options, once try,
) (*store.Step, error) {
	for {
		var history *store.Attempts
		if step != nil && step.Attempts != nil {
			history = step.Attempts // the policy is resolved once, with the first failure
		}
		if history != nil && step.Status == store.StepPending {
			if err := r.waitUntil(ctx, step.at.Add(step.WakeIn)); err != nil {
				return nil, err
			}
		}
		recorded, err := r.attemptAndRecord(ctx, key, kind, history, o, once)
		if err != nil {
			return nil, err
		}
		if recorded.Status != store.StepPending {
			return &recorded.Step, nil
		}
		step = recorded
	}
}

// attemptAndRecord is in flight from before the attempt until its outcome, good or bad, is recorded.
func (r *run) attemptAndRecord(
	ctx context.Context, key string, kind store.StepKind, history *store.Attempts, o *Options, once try,
) (*record, error) {
	if err := r.takeOff(ctx); err != nil {
		return nil, err
	}
	defer r.land()
	c := &current{run: r, key: key, attempt: 1}
	if history != nil {
		c.attempt += history.Count
	}
	recorded, err := r.attempt(ctx, c, o, once)
	var failed *attemptError
	if errors.As(err, &failed) {
		if history == nil {
			history = &store.Attempts{Policy: o.Retry}
		}
		recorded, err = r.recordFailure(c, kind, *history, failed.err)
	}
	if err != nil {
		return nil, err
	}
	return r.remember(key, recorded), nil
}

// attempt tries once. A failure after the run was lost or its caller gave up is most likely that, and not the step's: its
// error is then the cause. So is a checkpoint that was refused: nothing more can be recorded under this epoch.
func (r *run) attempt(ctx context.Context, c *current, o *Options, once try) (*store.Step, error) {
	attempt, end := r.attemptContext(ctx, c, o.Timeout)
	defer end()
	started := time.Now()
	recorded, err := once(attempt, r, c.key)
	var failed *attemptError
	switch cause := context.Cause(attempt); {
	case err == nil:
		if r.log.Enabled(ctx, slog.LevelDebug) {
			r.log.Debug("step succeeded", "step", c.key, "attempt", c.attempt, "duration", time.Since(started))
		}
		return recorded, nil
	case !errors.As(err, &failed):
		r.lose(err)
		return nil, err
	case errors.Is(cause, errStepTimeout) && cause != nil:
		return nil, &attemptError{errStepTimeout}
	case cause != nil:
		return nil, cause
	}
	r.log.Info("step attempt failed", "step", c.key, "attempt", c.attempt, "error", failed.err)
	return nil, failed
}

// recordFailure writes the failed attempt, with the time of the next one if there is to be one.
func (r *run) recordFailure(
	c *current, kind store.StepKind, history store.Attempts, failure error,
) (*store.Step, error) {
	history.Count++
	failed := store.FailedAttempt{Name: c.key, Kind: kind, Err: store.NewError(failure), Attempts: history}
	if !isFinal(failure) && history.Count < history.Policy.MaxAttempts {
		delay := backoff(history.Policy, history.Count, rand.Float64())
		failed.RetryIn = &delay
	}
	var recorded store.Step
	err := r.persist(func(ctx context.Context) (err error) {
		recorded, err = r.store.RecordFailure(ctx, r.owned, failed)
		return err
	})
	if err != nil {
		r.lose(err)
	}
	return &recorded, err
}

// backoff returns the delay after the nth failed attempt: exponential, capped, then reduced by a random part of the
// jitter, so that what failed together is not tried together again. random is in [0, 1).
func backoff(p store.RetryPolicy, n int, random float64) time.Duration {
	delay := float64(p.FirstDelay) * math.Pow(p.Factor, float64(n-1))
	delay = min(delay, float64(p.MaxDelay))
	return time.Duration(delay * (1 - p.Jitter*random))
}
