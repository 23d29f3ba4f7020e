package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/sqlworkflow/workflow"
)

// secondName is the process that goes on with what the killed ones leave.
const secondName = "second"

// A story is a workflow to be cut.
type story struct {
	name     string
	body     func(ctx context.Context, a *actor) error
	startTx  bool // in a transaction of the application
	queued   bool // in a queue of its own, which executes one run at a time
	working  bool // started by the process that works already, into a free slot
	inFlight int  // how many steps at most, at a time
	park     time.Duration
	counts   func(statement) verdict // ofRuns unless set
	beats    int                     // cut the statements of so many heartbeats; else, all of an uncut run
	orphan   bool                    // starts with a run of a dead worker
	varies   bool                    // in its number of statements
}

var stories = []story{
	{name: "plain", inFlight: 1, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "charge") },
			func() error { return a.do(ctx, "mail") },
			func() error { return a.do(ctx, "mail#1") })
	}},
	{name: "transactional", inFlight: 1, startTx: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.doTx(ctx, "book", 0) },
			func() error { return a.do(ctx, "mail") },
			func() error { return a.doTx(ctx, "ship", 0) })
	}},
	// Whether it works in time to have a slot is a matter of chance.
	{name: "started where it is executed", inFlight: 1, working: true, varies: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "charge") },
			func() error { return a.doTx(ctx, "book", 0) })
	}},
	// What several goroutines write may go together.
	{name: "parallel", inFlight: 3, varies: true, body: func(ctx context.Context, a *actor) error {
		err := a.branches(ctx, 3, func(ctx context.Context, key string) error {
			if err := a.do(ctx, key+"/pick"); err != nil {
				return err
			}
			return a.doTx(ctx, key+"/pack", 0)
		})
		if err != nil {
			return err
		}
		return a.do(ctx, "ship")
	}},
	{name: "sleeping in process", inFlight: 1, body: sleepy},
	{name: "parked", inFlight: 1, park: time.Millisecond, body: sleepy},
	{name: "parked in parallel", inFlight: 2, park: time.Millisecond, varies: true,
		body: func(ctx context.Context, a *actor) error {
			return a.branches(ctx, 2, func(ctx context.Context, key string) error {
				if err := workflow.Sleep(ctx, "wait", 60*time.Millisecond); err != nil {
					return err
				}
				return a.do(ctx, key+"/pick")
			})
		}},
	{name: "retrying in process", inFlight: 1, body: retrying},
	{name: "retrying parked", inFlight: 1, park: time.Millisecond, body: retrying},
	// What it hands back may be found by a claim that it sent before it was told to stop.
	{name: "draining", inFlight: 1, varies: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "charge", a.stop) },
			func() error { return a.do(ctx, "mail") })
	}},
	{name: "taken over", inFlight: 1, orphan: true, counts: ofTakeOver, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "charge") },
			func() error { return a.doTx(ctx, "book", 0) })
	}},
	// How often a run looks for what has come, or parks, is a matter of time.
	{name: "signalled", inFlight: 1, varies: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "ask", func() { a.send() }) },
			func() error { return a.receive(ctx, "letter", 0) },
			func() error { return a.do(ctx, "mail") })
	}},
	{name: "signalled while parked", inFlight: 1, varies: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "ask", func() { time.AfterFunc(100*time.Millisecond, a.send) }) },
			func() error { return a.receive(ctx, "letter", time.Hour) },
			func() error { return a.do(ctx, "mail") })
	}},
	{name: "timed out", inFlight: 1, varies: true, body: func(ctx context.Context, a *actor) error {
		if err := a.receive(ctx, "letter", 60*time.Millisecond); !errors.Is(err, workflow.ErrTimeout) {
			return err
		}
		return a.do(ctx, "mail")
	}},
	{name: "calling", inFlight: 1, varies: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.call(ctx, "assist") },
			func() error { return a.do(ctx, "mail") })
	}},
	{name: "calling many", inFlight: 3, varies: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.callAll(ctx, "together", "one", "two", "three") },
			func() error { return a.do(ctx, "mail") })
	}},
	{name: "queued", inFlight: 1, queued: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "charge") },
			func() error { return a.doTx(ctx, "book", 0) })
	}},
	{name: "queued and parked", inFlight: 1, queued: true, startTx: true, park: time.Millisecond, body: sleepy},
	// Parent and children share the one place of their queue.
	{name: "queued and calling", inFlight: 1, queued: true, varies: true, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.call(ctx, "assist") },
			func() error { return a.callAll(ctx, "together", "one", "two") },
			func() error { return a.do(ctx, "mail") })
	}},
	{name: "beating", inFlight: 1, counts: ofLease, beats: 2, body: func(ctx context.Context, a *actor) error {
		return first(
			func() error { return a.do(ctx, "charge") },
			func() error { return a.do(ctx, "hold", a.untilCut(ctx)) },
			func() error { return a.do(ctx, "mail") })
	}},
}

func sleepy(ctx context.Context, a *actor) error {
	return first(
		func() error { return a.do(ctx, "charge") },
		func() error { return workflow.Sleep(ctx, "wait", 120*time.Millisecond) },
		func() error { return a.do(ctx, "mail") })
}

func retrying(ctx context.Context, a *actor) error {
	return first(
		func() error { return a.doFailing(ctx, "charge", 2) },
		func() error { return a.doTx(ctx, "book", 1) })
}

// first stops at the first error.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Attempts have ever the same delays, so that their records can be compared, and long enough for a busy machine to park a run
// before they are over.
var soon = workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 4, FirstDelay: 120 * time.Millisecond, Factor: 1, Jitter: -1})

// An effect is one attempt of a step that did what it does.
type effect struct {
	key     string
	attempt int
}

// A ledger is kept outside of all processes.
type ledger struct {
	mu      sync.Mutex
	effects map[string]map[effect]int // by process
	acked   map[string]bool           // keys of steps that returned in the first process
	started bool
}

func newLedger() *ledger {
	return &ledger{effects: make(map[string]map[effect]int), acked: make(map[string]bool)}
}

func (l *ledger) took(process string, e effect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.effects[process] == nil {
		l.effects[process] = make(map[effect]int)
	}
	l.effects[process][e]++
}

func (l *ledger) all() iter.Seq[effect] {
	all := make(map[effect]bool)
	for _, effects := range l.effects {
		for e := range effects {
			all[e] = true
		}
	}
	return maps.Keys(all)
}

// A stage is where a story is played once.
type stage struct {
	*theatre
	ledger *ledger
	first  *process
	runID  string
	uncut  *ledger // of the run without a cut
}

// An actor plays the workflow in one process.
type actor struct {
	*stage
	*process
	stop func() // ends Work, in the first process
}

// take is the effect of a step.
func (a *actor) take(ctx context.Context, key string) error {
	if err := a.alive(ctx); err != nil {
		return err
	}
	a.ledger.took(a.name, effect{key, workflow.Attempt(ctx)})
	return nil
}

// done is called with what a step returned.
func (a *actor) done(key, got string, err error) error {
	if err != nil {
		return err
	}
	if want := "did " + key; got != want {
		return fmt.Errorf("step %q returned %q, want %q", key, got, want)
	}
	if a.process == a.first {
		a.ledger.mu.Lock()
		defer a.ledger.mu.Unlock()
		a.ledger.acked[key] = true
	}
	return nil
}

// nameOf undoes what the library makes of a name: branch/name#1.
func nameOf(key string) string {
	_, name, branch := strings.Cut(key, "/")
	if !branch {
		name = key
	}
	name, _, _ = strings.Cut(name, "#")
	return name
}

// do is the plain step that is to get a key. It also calls during.
func (a *actor) do(ctx context.Context, key string, during ...func()) error {
	got, err := workflow.Do(ctx, nameOf(key), func(ctx context.Context) (string, error) {
		if err := a.take(ctx, key); err != nil {
			return "", err
		}
		for _, f := range during {
			f()
		}
		return "did " + key, nil
	}, soon)
	return a.done(key, got, err)
}

// doFailing fails so many times, with its effect.
func (a *actor) doFailing(ctx context.Context, key string, failures int) error {
	got, err := workflow.Do(ctx, nameOf(key), func(ctx context.Context) (string, error) {
		if err := a.take(ctx, key); err != nil {
			return "", err
		}
		if n := workflow.Attempt(ctx); n <= failures {
			return "", &workflow.Error{Code: "early", Message: fmt.Sprintf("attempt %d", n)}
		}
		return "did " + key, nil
	}, soon)
	return a.done(key, got, err)
}

// doTx books in the application's table, and fails so many times after that.
func (a *actor) doTx(ctx context.Context, key string, failures int) error {
	got, err := workflow.DoTx(ctx, nameOf(key), func(ctx context.Context, tx *sql.Tx) (string, error) {
		if err := a.take(ctx, key); err != nil {
			return "", err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO booked VALUES ($1, $2)", a.runID, key); err != nil {
			return "", err
		}
		if n := workflow.Attempt(ctx); n <= failures {
			return "", &workflow.Error{Code: "early", Message: fmt.Sprintf("attempt %d", n)}
		}
		return "did " + key, nil
	}, soon)
	return a.done(key, got, err)
}

var letter = workflow.DefineSignal[string]("letter")

// send is what somebody else does, who does not know what became of an earlier try.
func (a *actor) send() {
	_ = letter.Send(context.Background(), a.svc, a.runID, "did letter", workflow.WithKey("once"))
}

func (a *actor) receive(ctx context.Context, key string, timeout time.Duration) error {
	got, err := letter.Wait(ctx, timeout)
	return a.done(key, got, err)
}

func (a *actor) callOptions() []workflow.CallOption {
	if !a.story.queued {
		return nil
	}
	return []workflow.CallOption{workflow.WithQueue(a.runID)}
}

func (a *actor) call(ctx context.Context, key string) error {
	got, err := workflow.Call(ctx, key, a.assistant(nil), key, a.callOptions()...)
	return a.done(key, got, err)
}

func (a *actor) callAll(ctx context.Context, key string, inputs ...string) error {
	results, err := workflow.CallAll(ctx, key, a.assistant(nil), inputs, a.callOptions()...)
	for i, result := range results {
		if want := "did " + inputs[i]; err == nil && (result.Err != nil || result.Value != want) {
			err = fmt.Errorf("result %d: %q, %v; want %q", i, result.Value, result.Err, want)
		}
	}
	return err
}

func (a *actor) branches(ctx context.Context, n int, body func(context.Context, string) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			key := fmt.Sprintf("b%d", i)
			errs[i] = body(workflow.Branch(ctx, key), key)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// untilCut waits, in the first process, until it is cut or nothing is left to be.
func (a *actor) untilCut(ctx context.Context) func() {
	return func() {
		if a.process != a.first {
			return
		}
		select {
		case <-a.first.counted(a.beatStatements()):
		case <-ctx.Done():
		}
	}
}
