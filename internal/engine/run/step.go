package run

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Options of a step.
type Options struct {
	Retry     store.RetryPolicy // with every field set
	Timeout   time.Duration     // of one attempt; 0: none
	Isolation sql.IsolationLevel
	// Exact asks for the result as the database has it, the first time too: PostgreSQL normalises JSON, and the type that it is
	// decoded into would see the difference.
	Exact bool
}

// Func is what a step does, on encoded values.
type Func func(context.Context) (json.RawMessage, error)

// TxFunc is what a transactional step does.
type TxFunc func(context.Context, *sql.Tx) (json.RawMessage, error)

// Do returns what the step of this name has recorded; the first time it calls f and records that. A name that is reached again
// becomes name#1, name#2 and so on, in the order of reach. The error of a failed step is an *store.Error, the first time too,
// so that a replay and the first call are the same.
func Do(ctx context.Context, name string, o Options, f Func) (json.RawMessage, error) {
	return do(ctx, name, "", &o, func(ctx context.Context, a *attempt) (*record, error) {
		result, failed := guard(func() (json.RawMessage, error) { return f(ctx) })
		if failed != nil {
			return nil, failed
		}
		return a.checkpoint(a.success(result))
	})
}

// DoTx is [Do] with a transaction for f, in which the result is recorded: what f writes through it happens exactly once.
func DoTx(ctx context.Context, name string, o Options, f TxFunc) (json.RawMessage, error) {
	return do(ctx, name, store.TxStep, &o, func(ctx context.Context, a *attempt) (*record, error) {
		return a.transact(ctx, o.Isolation, func(ctx context.Context, tx *sql.Tx) (json.RawMessage, error) {
			result, failed := guard(func() (json.RawMessage, error) { return f(ctx, tx) })
			if failed == nil {
				return result, nil
			}
			return nil, failed
		})
	})
}

// A try attempts a step once and records its success. What the step is to blame for is a *failure; any other error ends the run
// here.
type try func(ctx context.Context, a *attempt) (*record, error)

func do(ctx context.Context, name string, kind store.StepKind, o *Options, once try) (json.RawMessage, error) {
	s, err := enter(ctx, name, kind)
	if err != nil {
		return nil, err
	}
	defer s.leave()

	// What is recorded is served before anything is asked of ctx: a replay must not depend on it.
	if err := s.recall(); err != nil {
		return nil, err
	}
	if s.recorded == nil || !s.recorded.hasEnded() {
		if err := s.perform(ctx, o, once); err != nil {
			return nil, err
		}
	}
	defer s.forget()
	return s.outcome()
}

// A step is a step as a call has reached it.
type step struct {
	call     *call
	scope    *scope
	key      string
	kind     store.StepKind
	seq      int
	recorded *record // nil: nothing is
	first    attempt // room for the first one, which mostly is the only one
}

// perform tries the step until it has succeeded, or failed for good. Between attempts the run waits as a sleep does.
func (s *step) perform(ctx context.Context, o *Options, once try) error {
	for {
		if now := s.recorded; now != nil && now.Status == store.StepPending && now.Attempts != nil {
			if err := s.call.waitUntil(ctx, now.at.Add(now.WakeIn)); err != nil {
				return err
			}
		}
		if err := s.attempt(ctx, o, once); err != nil {
			return err
		}
		if s.recorded.hasEnded() {
			return nil
		}
	}
}

// outcome is what a step returns: the same the first time and in every replay.
func (s *step) outcome() (json.RawMessage, error) {
	step := s.recorded
	if step.Status != store.StepFailed {
		return step.Result, nil
	}
	var stored *store.Error
	if errors.As(step.Err, &stored) {
		named := *stored
		named.Step = step.Name
		return nil, &named
	}
	return nil, step.Err
}

// remember keeps what is recorded of the step now.
func (s *step) remember(recorded *record) {
	s.recorded = recorded
	s.call.run.mu.Lock()
	defer s.call.run.mu.Unlock()
	s.call.run.recorded[s.key] = s.recorded
}
