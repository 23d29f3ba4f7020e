package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/store"
)

// Signal is a kind of message that runs wait for; make one with [DefineSignal].
type Signal[T any] struct{ name string }

// DefineSignal gives a kind of message its name, under which it is stored and waited for, and its type, which travels as JSON. It
// panics on a name that no signal can have, as that is a mistake in the program: a name obeys the rules of a step's name, has no
// colon, and at most 255 bytes.
//
// What is sent waits for its receiver as long as that is unfinished: a signal that comes before the run waits for it is not lost.
// A run that waits is a row, and costs no goroutine and no memory.
func DefineSignal[T any](name string) *Signal[T] {
	if err := checkSignal[T](name); err != nil {
		panic(err.Error())
	}
	return &Signal[T]{name: name}
}

func checkSignal[T any](name string) error {
	err := checkName("signal name", name, maxName)
	if err == nil {
		err = checkStepName(name)
	}
	switch {
	case err != nil:
		return err
	case strings.Contains(name, ":"): // names with one are the library's own
		return fmt.Errorf("workflow: signal name %q: %w: it must not contain ':'", name, ErrInvalidArgument)
	}
	if err := checkDecodable[T](); err != nil {
		return fmt.Errorf("workflow: signal %q: %w", name, err)
	}
	return nil
}

// Name returns the name that the signal was defined with.
func (s *Signal[T]) Name() string { return s.name }

// Wait waits for a signal of this name and returns it: the oldest that was sent to the run and that no other step has taken. It is
// a step, under the signal's name: when the workflow's function is called again, it returns the same value.
//
// When nothing has come within timeout, counted from the first time the step is reached, by the database's clock, the error is
// [ErrTimeout], and an *[Error] with [CodeTimeout]; 0 waits for ever. A signal that was acknowledged before that wins, however
// much later a worker looks; one that is sent later does not count here, and waits for the next step that asks.
//
// A wait that takes long parks the run, as [Sleep] does: then the error is [ErrInterrupted], which the workflow's function must
// return. A signal that cannot be decoded as a T is taken all the same, and an error each time.
func (s *Signal[T]) Wait(ctx context.Context, timeout time.Duration) (T, error) {
	var value T
	if err := checkWait(ctx, s.name, timeout); err != nil {
		return value, err
	}
	payload, err := run.Await(ctx, run.Wait{Step: s.name, Kind: SignalStep, Signal: s.name, Timeout: timeout})
	if err != nil {
		return value, waitError(err)
	}
	err = decode(fmt.Sprintf("signal %q as %s", s.name, typeName[T]()), payload, &value)
	return value, err
}

// Poll returns the signal that [Signal.Wait] would return, if there is one already, and does not wait. It is a step as well: that there
// was none is recorded too, and is what Poll returns whenever the function is called again.
func (s *Signal[T]) Poll(ctx context.Context) (value T, found bool, err error) {
	if err := checkStep(ctx, s.name); err != nil {
		return value, false, err
	}
	payload, found, err := run.Poll(ctx, s.name, s.name)
	if err != nil || !found {
		return value, false, stepError(err)
	}
	err = decode(fmt.Sprintf("signal %q as %s", s.name, typeName[T]()), payload, &value)
	return value, true, err
}

// Send sends a signal to a run. On a [Service] it is durable when Send returns. On [Service.In], in a transaction of the
// application, it exists if and only if that commits, and the run goes on when it has; call [Service.Wake] then, or the run waits
// for the next poll. Until the end of that transaction it holds the run, and no other: send last.
//
// A run takes the signals of one name in the order in which they were sent. With [WithKey], a second signal of the same name and key
// is not sent, which is no error. ErrRunNotFound; ErrRunFinished when the run is completed, failed or cancelled. Neither aborts the
// transaction, which holds the finished run's row until it ends.
func (s *Signal[T]) Send(ctx context.Context, on Session, runID string, value T, options ...SendOption) error {
	return on.state().send(ctx, runID, s.name, value, options)
}

func (s State) send(ctx context.Context, runID, name string, value any, options []SendOption) error {
	var o sendOptions
	for _, option := range options {
		option(&o)
	}
	if err := s.readyRun(ctx, "send signal", runID); err != nil {
		return err
	}
	if o.keyed {
		if err := checkName("signal key", o.key, maxName); err != nil {
			return err
		}
	} else if run.InFunction(ctx) {
		return fmt.Errorf("workflow: send signal %q: %w", name, ErrSendOutsideStep)
	}
	payload, err := encode(fmt.Sprintf("signal %q", name), value, s.config.PayloadLimit)
	if err != nil {
		return err
	}
	send := s.engine.Send
	if s.store.Tx() != nil {
		send = s.store.SendSignal
	}
	sent, err := send(ctx, store.NewSignal{RunID: runID, Name: name, Key: o.key, Payload: payload})
	if err == nil && sent {
		s.wake(runID)
	}
	return err
}

// SendSignal sends a signal by its name, for whoever has no type for it: an operator's page, a webhook whose URL names the signal. The payload
// is encoded as JSON; a [json.RawMessage] is taken as it is. Whether the receiver can decode it is found by the workflow. The rest is as
// with [Signal.Send]; a name that no signal can have is ErrInvalidArgument.
func (s State) SendSignal(ctx context.Context, runID, name string, payload any, options ...SendOption) error {
	if err := checkSignal[json.RawMessage](name); err != nil {
		return err
	}
	return s.send(ctx, runID, name, payload, options)
}

// wake tells this process's worker that something has come for a run.
func (s State) wake(runID string) {
	s.then(func() { s.engine.Woken(runID) })
}

// A SendOption changes how a signal is sent.
type SendOption func(*sendOptions)

type sendOptions struct {
	keyed bool
	key   string
}

// WithKey sends the signal only if none of the same name and key was sent to the run before: for what may come twice, such as
// a webhook, whose id is the key. It has at most 255 bytes.
func WithKey(key string) SendOption {
	return func(o *sendOptions) { o.keyed, o.key = true, key }
}

// SentSignal is a signal as the database keeps it, until its run is deleted.
type SentSignal struct {
	RunID   string
	Name    string          // that the signal was defined with; approval:<step> for the decision of an approval
	Key     string          // of [WithKey]; "" for none
	Seq     int64           // grows from one signal of a run to the next
	Payload json.RawMessage // what was sent
	SentAt  time.Time       // by the database's clock
	TakenBy string          // the step that has taken it; "": none has
}

// ListSignals returns the signals that were sent to a run, in that order, or ErrRunNotFound.
func (s State) ListSignals(ctx context.Context, runID string) ([]SentSignal, error) {
	if err := s.readyRun(ctx, "list signals", runID); err != nil {
		return nil, err
	}
	found, err := s.store.ListSignals(ctx, runID)
	if err != nil {
		return nil, err
	}
	signals := make([]SentSignal, len(found))
	for i := range found {
		signals[i] = SentSignal(found[i])
	}
	return signals, nil
}

func checkWait(ctx context.Context, name string, timeout time.Duration) error {
	if err := checkStep(ctx, name); err != nil {
		return err
	}
	if timeout < 0 {
		return fmt.Errorf("workflow: step %q: %w: the timeout must not be negative", name, ErrInvalidArgument)
	}
	return nil
}

// waitError is stepError for a wait: that its time is over is ErrTimeout as well.
func waitError(err error) error {
	err = stepError(err)
	if own, ok := err.(*Error); ok && own.Code == CodeTimeout { //nolint:errorlint // stepError does not wrap it
		return &timeoutError{own}
	}
	return err
}

// timeoutError is an *Error that is ErrTimeout too, where it comes from. It is not once it is what a run has failed with: then ErrTimeout
// is about whoever asks for that.
type timeoutError struct{ err *Error }

func (e *timeoutError) Error() string        { return e.err.Error() }
func (e *timeoutError) Unwrap() error        { return e.err }
func (e *timeoutError) Is(target error) bool { return target == ErrTimeout }

// checkDecodable refuses types that no JSON can be decoded into.
func checkDecodable[T any]() error {
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Interface && t.NumMethod() > 0 {
		return fmt.Errorf("%w: it has the type %s, an interface, which JSON cannot be decoded into: use a concrete type",
			ErrInvalidArgument, typeName[T]())
	}
	return nil
}
