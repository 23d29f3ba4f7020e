package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Errors and values whose methods do what methods should not.
type (
	nilError      struct{ text string } // its nil pointer panics
	textError     struct{ after int }
	unwrapError   struct{}
	joinedError   struct{}
	isError       struct{}
	asError       struct{}
	stateError    struct{}
	panicsMarshal struct{}
	panicsDecode  struct{ N int }
	logError      struct{}
)

func (e *nilError) Error() string { return e.text }

func (e *textError) Error() string {
	if e.after--; e.after < 0 {
		panic("in Error")
	}
	return "fine at first"
}

func (unwrapError) Error() string                  { return "wraps" }
func (unwrapError) Unwrap() error                  { panic("in Unwrap") }
func (joinedError) Error() string                  { return "joins" }
func (joinedError) Unwrap() []error                { panic("in Unwrap") }
func (isError) Error() string                      { return "is" }
func (isError) Is(error) bool                      { panic("in Is") }
func (asError) Error() string                      { return "as" }
func (asError) As(any) bool                        { panic("in As") }
func (stateError) Error() string                   { return "state" }
func (stateError) SQLState() string                { panic("in SQLState") }
func (panicsMarshal) MarshalJSON() ([]byte, error) { panic("in MarshalJSON") }
func (*panicsDecode) UnmarshalJSON([]byte) error   { panic("in UnmarshalJSON") }
func (logError) LogValue() slog.Value              { panic("in LogValue") }
func (logError) String() string                    { panic("in String") }
func (logError) Error() string                     { panic("in Error of a logged value") }

// rogueErrors are errors to return, each made anew.
var rogueErrors = map[string]func() error{
	"nil pointer in an error": func() error { var e *nilError; return e },
	"Error":                   func() error { return &textError{} },
	"Error, the second time":  func() error { return &textError{after: 1} },
	"Error, the fifth time":   func() error { return &textError{after: 4} },
	"Error of a wrapped one":  func() error { return fmt.Errorf("wrapped: %w", errors.Join(wrappedError{}, io.EOF)) },
	"Unwrap":                  func() error { return unwrapError{} },
	"Unwrap of a list":        func() error { return joinedError{} },
	"Is":                      func() error { return isError{} },
	"As":                      func() error { return asError{} },
	"SQLState":                func() error { return stateError{} },
}

// wrappedError has a text that can be asked for once, by what wraps it.
type wrappedError struct{}

func (wrappedError) Error() string { return "lazy" }
func (wrappedError) Is(error) bool { panic("in Is of a wrapped one") }
func (wrappedError) As(any) bool   { panic("in As of a wrapped one") }
func (wrappedError) Unwrap() error { panic("in Unwrap of a wrapped one") }

// hasText names those whose text can be had: their runs may fail with that, or with code panic.
func hasText(name string) bool {
	method, _, _ := strings.Cut(name, " ")
	return method != "nil" && method != "MarshalJSON" && method != "UnmarshalJSON" && !strings.HasPrefix(name, "Error from") &&
		!strings.Contains(name, "in a panic")
}

// rogues are workflows by name. The run of each is to fail, and to harm nobody else.
func rogues() map[string]workflow.Definition {
	once := workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 1})
	list := make(map[string]workflow.Definition)
	for method, rogue := range rogueErrors {
		add(list, method+" from the function", func(context.Context, int) (int, error) { return 0, rogue() })
		add(list, method+" from a step", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(context.Context) (int, error) { return 0, rogue() }, once)
		})
		add(list, method+" from a transactional step", func(ctx context.Context, _ int) (int, error) {
			return workflow.DoTx(ctx, "s", func(context.Context, *sql.Tx) (int, error) { return 0, rogue() }, once)
		})
		add(list, method+" in a panic", func(context.Context, int) (int, error) { panic(rogue()) })
		add(list, method+" in a panic of a step", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(context.Context) (int, error) { panic(rogue()) }, once)
		})
	}
	add(list, "MarshalJSON of the output", func(context.Context, int) (panicsMarshal, error) { return panicsMarshal{}, nil })
	add(list, "MarshalJSON of a result", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.Do(ctx, "s", value(panicsMarshal{}), once)
		return 0, err
	})
	add(list, "MarshalJSON of a transactional result", func(ctx context.Context, _ int) (int, error) {
		_, err := workflow.DoTx(ctx, "s", func(context.Context, *sql.Tx) (panicsMarshal, error) { return panicsMarshal{}, nil }, once)
		return 0, err
	})
	add(list, "UnmarshalJSON of the input", func(context.Context, panicsDecode) (int, error) { return 0, nil })
	add(list, "UnmarshalJSON of a result", func(ctx context.Context, _ int) (int, error) {
		got, err := workflow.Do(ctx, "s", value(panicsDecode{N: 1}), once)
		return got.N, err
	})
	add(list, "LogValue in the function", func(ctx context.Context, _ int) (int, error) {
		workflow.Logger(ctx).Info("look", "value", logError{})
		return 0, errors.New("the logger took it")
	})
	add(list, "LogValue in a step", func(ctx context.Context, _ int) (int, error) {
		return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
			workflow.Logger(ctx).Info("look", "value", logError{})
			return 0, errors.New("the logger took it")
		}, once)
	})
	add(list, innocent, func(ctx context.Context, n int) (int, error) { return workflow.Do(ctx, "s", value(n)) })
	return list
}

const innocent = "innocent"

func add[In, Out any](list map[string]workflow.Definition, name string, fn func(context.Context, In) (Out, error)) {
	list[name] = workflow.Define(name, fn)
}

// rogueChild works on the rogues until it is killed. Its connections carry its process id as their name.
func rogueChild(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	query := u.Query()
	query.Set("application_name", fmt.Sprint(os.Getpid()))
	u.RawQuery = query.Encode()
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		return err
	}
	svc, err := workflow.New(workflow.Config{
		DB: db, Lease: testLease, PollInterval: 20 * time.Millisecond, Logger: slog.New(newJournal()),
	})
	if err != nil {
		return err
	}
	for _, rogue := range rogues() {
		svc.Register(rogue)
	}
	return svc.Work(context.Background())
}

// Methods of the application's own values are its code: what they do ends a run, and not the process that executes it.
func TestMethodsOfUserCodeHarmTheirRunAlone(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	var worker *kit.Process
	alive := func() bool { // by its connection for heartbeats
		return kit.One[int](t, b.db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", fmt.Sprint(worker.PID())) > 0
	}
	begin := func() {
		worker = kit.Spawn(t, "rogues "+b.pg.URL())
		kit.Until(t, "the worker is connected", alive)
	}
	begin()
	execute := func(name string) (run workflow.Run, survived bool) {
		t.Helper()
		id, err := b.svc.CreateRun(t.Context(), name, 3)
		if err != nil {
			t.Fatal(err)
		}
		survived = true
		kit.Until(t, "the run has ended: "+name, func() bool {
			survived = alive()
			run = b.get(id)
			return !survived || run.Status == workflow.RunFailed || run.Status == workflow.RunCompleted
		})
		if !survived { // so that the next process does not die of it
			if err := b.svc.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			begin()
		}
		return run, survived
	}
	for name := range rogues() {
		if name == innocent {
			continue
		}
		run, survived := execute(name)
		var stored *workflow.Error
		switch {
		case !survived:
			t.Errorf("%s: the process died", name)
		case run.Status != workflow.RunFailed || !errors.As(run.Err, &stored):
			t.Errorf("%s: %s, error %v; want a failed run", name, run.Status, run.Err)
		case stored.Code != "panic" && (stored.Code != "" || !hasText(name)):
			t.Errorf("%s: failed with code %q and %q, want code panic", name, stored.Code, stored.Message)
		}
	}
	if run, survived := execute(innocent); !survived || string(run.Output) != "3" {
		t.Errorf("after all of them, process %d ends a run as %s with %s", worker.PID(), run.Status, run.Output)
	}
}
