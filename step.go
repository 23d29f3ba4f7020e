package workflow

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/store"
)

// Do executes a step of the run that ctx carries: f is called, and what it returns is recorded before Do returns. When the
// workflow's function is called again for the same run, after a crash or elsewhere, Do returns what is recorded and does
// not call f.
//
// f has effects of its own, and the process may die after them and before the record: then f is called again. Make its
// effects repeatable, for example with [IdempotencyKey], or use [DoTx] for effects in the same database.
//
// The result travels as JSON, the first time too. An error of f, or a panic, is a failed attempt: the step is tried again
// as its [RetryPolicy] says, unless the error is [Final], and fails with the last error, as an *[Error]. Failed attempts are
// kept with their times, the last 20 of them. A long wait for the next attempt parks the run as [Sleep] does.
//
// A name has at most 1,024 bytes and neither # nor /. A name that is reached again in one run becomes name#1, name#2 and
// so on, in the order of reach. Goroutines of one run need a [Branch] each: within one, steps follow each other.
//
// When the run was lost, is parked, or its worker stops, the error is [ErrInterrupted]: return it from the workflow's function.
func Do[T any](
	ctx context.Context, name string, f func(ctx context.Context) (T, error), options ...StepOption,
) (T, error) {
	var made made[T]
	return step(ctx, name, options, &made, func(o run.Options) (json.RawMessage, error) {
		return run.Do(ctx, name, o, func(attempt context.Context) (json.RawMessage, error) {
			value, err := f(attempt)
			return made.encode(ctx, name, value, err)
		})
	})
}

// DoTx is [Do] with a transaction of the application's database for f, in which the step is also recorded: what f writes
// through tx happens exactly once, or not at all when f fails. f must neither commit nor roll back.
//
// The transaction begins with the database's default isolation, or that of [WithIsolation]. After a serialization failure or a
// deadlock it is rolled back and f is called again, a few times, which is not counted as an attempt. While f runs a
// connection and the locks of its writes are held: keep it short, and call no other service in it.
func DoTx[T any](
	ctx context.Context, name string, f func(ctx context.Context, tx *sql.Tx) (T, error), options ...StepOption,
) (T, error) {
	var made made[T]
	return step(ctx, name, options, &made, func(o run.Options) (json.RawMessage, error) {
		return run.DoTx(ctx, name, o, func(attempt context.Context, tx *sql.Tx) (json.RawMessage, error) {
			value, err := f(attempt, tx)
			return made.encode(ctx, name, value, err)
		})
	})
}

func step[T any](
	ctx context.Context, name string, options []StepOption, made *made[T], do func(run.Options) (json.RawMessage, error),
) (T, error) {
	var result T
	if err := checkStep(ctx, name); err != nil {
		return result, err
	}
	o, err := stepOptions(ctx, options)
	if err == nil && reflect.TypeFor[T]().Kind() == reflect.Interface && reflect.TypeFor[T]().NumMethod() > 0 {
		err = fmt.Errorf("%w: its result has the type %s, an interface, which JSON cannot be decoded into: use a concrete type",
			ErrInvalidArgument, typeName[T]())
	}
	if err != nil {
		return result, fmt.Errorf("workflow: step %q: %w", name, err)
	}
	o.Exact = exact[T]()
	recorded, err := do(o)
	if err != nil {
		return result, stepError(err)
	}
	if made.reads(recorded) {
		return made.value, nil
	}
	if err := unmarshal(recorded, &result); err != nil {
		return result, fmt.Errorf("workflow: decode result of step %q as %s: %w", name, typeName[T](), err)
	}
	return result, nil
}

// stepError returns a step's failure as the package's *Error; it is not wrapped.
func stepError(err error) error {
	if stored, ok := err.(*store.Error); ok { //nolint:errorlint // see above
		return storedError(stored)
	}
	return err
}

// Sleep makes the run wait for d, counted from the first time it is reached, by the database's clock. A wait of more than
// Config.ParkAfter parks the run: it is a row, and costs no goroutine and no memory, for months if need be. Then Sleep
// returns [ErrInterrupted], which the workflow's function must return; the function is called again when the time has come,
// on any worker.
func Sleep(ctx context.Context, name string, d time.Duration) error {
	if err := checkStep(ctx, name); err != nil {
		return err
	}
	return stepError(run.Sleep(ctx, name, d))
}

// Branch returns a context for one goroutine of a workflow: step names reached with it are counted by themselves and
// stored as key/name, so that the goroutines of a run do not share names. A key obeys the rules of a step name; with one
// that does not, every step of the branch is an error.
func Branch(ctx context.Context, key string) context.Context {
	if err := checkStepName(key); err != nil {
		return context.WithValue(ctx, badBranch{}, err)
	}
	return run.Branch(ctx, key)
}

// badBranch carries what is wrong with a branch's key.
type badBranch struct{}

func checkStep(ctx context.Context, name string) error {
	if err, bad := ctx.Value(badBranch{}).(error); bad {
		return fmt.Errorf("workflow: branch: %w", err)
	}
	return checkStepName(name)
}

// Patched lets a change of a workflow's function meet runs that began before it: it is true for runs that had not come to this
// place when the change was deployed, and stays true for them; it is false for those that had gone past it, which go on the
// old way.
//
//	if workflow.Patched(ctx, "tax-2027") {
//		tax, err = workflow.Do(ctx, "tax", newTax)
//	} else {
//		tax, err = workflow.Do(ctx, "vat", oldTax)
//	}
//
// Once no unfinished run is older than the change, the else branch may go, and then the call of Patched too. name obeys the
// rules of a step's name. Inside a step, and with a bad name, the run fails with [CodeMisuse]; outside a run it is true.
func Patched(ctx context.Context, name string) bool {
	return run.Patched(ctx, name, checkStepName(name))
}

// Final marks an error of a step as permanent: the step fails without further attempts. It returns nil for nil.
func Final(err error) error { return run.Final(err) }

// RetryAfter marks an error of a step with the time until its next attempt, as a provider's Retry-After header gives it, in place
// of the policy's delay; the number of attempts stays the policy's. It returns nil for nil.
func RetryAfter(err error, after time.Duration) error { return run.RetryAfter(err, after) }

// A StepOption changes how a step is executed.
type StepOption func(*stepConfig)

type stepConfig struct {
	retry     RetryPolicy
	timeout   time.Duration
	isolation sql.IsolationLevel
}

// WithRetry sets how often the step is attempted; what it leaves open is as Config.Retry says. The policy is resolved once, and
// stored with the first failed attempt; from then on the stored one counts.
func WithRetry(policy RetryPolicy) StepOption {
	return func(c *stepConfig) { c.retry = policy }
}

// WithAttemptTimeout bounds each attempt: its context ends after d, and the attempt fails with [CodeStepTimeout] when its function
// returns. A function that ignores its context is waited for, and reported to the log. Defaults to no bound.
func WithAttemptTimeout(d time.Duration) StepOption {
	return func(c *stepConfig) { c.timeout = d }
}

// WithIsolation sets the isolation of the transaction of [DoTx]. Defaults to the database's default.
func WithIsolation(level sql.IsolationLevel) StepOption {
	return func(c *stepConfig) { c.isolation = level }
}

// configured is apart from what most steps do, which have no options: a stepConfig that an option sees is memory of the heap.
func configured(options []StepOption) stepConfig {
	if len(options) == 0 {
		return stepConfig{}
	}
	var c stepConfig
	for _, option := range options {
		option(&c)
	}
	return c
}

func stepOptions(ctx context.Context, options []StepOption) (run.Options, error) {
	c := configured(options)
	p := c.retry.over(configOf(ctx).Retry)
	if c.timeout < 0 {
		return run.Options{}, fmt.Errorf("%w: the timeout must not be negative", ErrInvalidArgument)
	}
	if err := p.validate(); err != nil {
		return run.Options{}, err
	}
	p.Jitter = max(p.Jitter, 0)
	return run.Options{Retry: store.RetryPolicy(p), Timeout: c.timeout, Isolation: c.isolation}, nil
}
