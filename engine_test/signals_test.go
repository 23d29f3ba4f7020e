package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// What many send at the same time to runs that wait goes together, and so do the claims and loads of these runs.
func TestStatementsOfManySignals(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) { return letter.Wait(ctx, 0) })
		c.svc.Register(w)
		c.settle(t)
		const runs = 60
		ids := make([]string, runs)
		for i := range ids {
			handle, err := w.Start(t.Context(), c.svc, 1)
			kit.Must(t, err)
			ids[i] = handle.RunID()
		}
		kit.Until(t, "all wait", func() bool {
			return kit.One[int](t, c.side, "SELECT count(*) FROM workflows.workflow_runs WHERE waits_for IS NOT NULL") == runs
		})
		c.forget()
		for i, err := range kit.Together(runs, func(i int) error { return letter.Send(t.Context(), c.svc, ids[i], fmt.Sprint(i)) }) {
			if err != nil {
				t.Errorf("signal %d: %v", i, err)
			}
		}
		kit.Until(t, "all are completed", func() bool {
			return kit.One[int](t, c.side, "SELECT count(*) FROM workflows.workflow_runs WHERE workflow = 'w' AND status = 'completed'") == runs
		})
		got := c.sofar()
		t.Logf("%d signals: %v", runs, got)
		if sends := got["send_signal"] + got["send_signals"]; sends > runs/3 {
			t.Errorf("%d statements for %d signals that come together", sends, runs)
		}
		if loads := got["load_woken"]; loads > runs/3 || got["load_steps"]+got["read_inbox"] > 0 {
			t.Errorf("%v; want the signals loaded with the runs that they woke", got)
		}
		if n := kit.One[int](t, c.side, `SELECT count(*) FROM workflows.workflow_runs AS run
			JOIN workflows.workflow_signals AS signal ON signal.run_id = run.id WHERE run.output = signal.payload`); n != runs {
			t.Errorf("%d runs have got what was sent to them, want %d", n, runs)
		}
	})
}

// A signal that cannot go with others is sent by itself, which waits for who holds the run, within the bound, and tells why not. Nobody
// else's waits with it.
func TestSignalsThatAreNotWritten(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		w := workflow.Define("w", func(context.Context, int) (int, error) { return 1, nil })
		create := func() string {
			id, err := c.svc.CreateRun(t.Context(), w.Name(), 1)
			kit.Must(t, err)
			return id
		}
		free, locked, finished := create(), create(), create()
		kit.Must(t, c.svc.UpdateRunStatus(t.Context(), finished, workflow.RunCancelled, nil, nil))
		kit.Must(t, letter.Send(t.Context(), c.svc, free, "first", workflow.WithKey("k")))
		stranger := kit.Begin(t, c.side)
		kit.Exec(t, stranger, "SELECT FROM workflows.workflow_runs WHERE id = $1 FOR UPDATE", locked)

		waits := kit.Go(t, func() error { return letter.Send(t.Context(), c.svc, locked, "waits") })
		kit.Waiters(t, c.side, 1)
		for what, test := range map[string]struct {
			id, key string
			want    error
		}{
			"free": {free, "", nil}, "a key once more": {free, "k", nil},
			"finished": {finished, "", workflow.ErrRunFinished}, "unknown": {"nobody", "", workflow.ErrRunNotFound},
		} {
			var options []workflow.SendOption
			if test.key != "" {
				options = append(options, workflow.WithKey(test.key))
			}
			if err := letter.Send(t.Context(), c.svc, test.id, "x", options...); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", what, err, test.want)
			}
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := letter.Send(impatient, c.svc, locked, "impatient"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a sender without time: %v", err)
		}
		kit.Must(t, stranger.Rollback())
		kit.Must(t, kit.Receive(t, "the sender", waits))
		if n := kit.One[int](t, c.side, "SELECT count(*) FROM workflows.workflow_signals WHERE payload = '\"waits\"' AND run_id = $1", locked); n != 1 {
			t.Errorf("%d signals to the run that was locked, want 1", n)
		}
		if n := kit.One[int](t, c.side, "SELECT count(*) FROM workflows.workflow_signals WHERE run_id = $1", free); n != 2 {
			t.Errorf("%d signals to the free run, want 2", n)
		}
	})
}

// A sender goes when its time is over, whatever the statement that its signal is in waits for.
func TestSenderGoesWithItsContext(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		id, err := c.svc.CreateRun(t.Context(), "w", 1)
		kit.Must(t, err)
		stranger := kit.Begin(t, c.side)
		kit.Exec(t, stranger, "LOCK TABLE workflows.workflow_signals")
		ctx, cancel := context.WithCancel(t.Context())
		gone := kit.Go(t, func() error { return letter.Send(ctx, c.svc, id, "late") })
		kit.Waiters(t, c.side, 1)
		cancel()
		if err := kit.Receive(t, "the sender", gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a sender that was cancelled: %v", err)
		}
		kit.Must(t, stranger.Rollback())
		kit.Must(t, letter.Send(t.Context(), c.svc, id, "next"))
	})
}

// A run that goes on with what was loaded with it finds what has come since, also of the same name, and though it has looked for
// something else meanwhile.
func TestSignalAfterThoseThatWereLoaded(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(*workflow.Config) {})
		elsewhere, err := workflow.New(workflow.Config{DB: c.side, Statements: workflow.StatementsSingle})
		kit.Must(t, err)
		t.Cleanup(func() { kit.Must(t, elsewhere.Close()) })
		other := workflow.DefineSignal[string]("other")
		inside, proceed := make(chan struct{}), make(chan struct{})
		arrive := sync.OnceFunc(func() { close(inside) })
		w := workflow.Define("w", func(ctx context.Context, _ int) (all string, err error) {
			for i, signal := range []*workflow.Signal[string]{letter, other, letter} {
				if i == 1 {
					arrive()
					<-proceed
				}
				got, err := signal.Wait(ctx, 0)
				if err != nil {
					return "", err
				}
				all += got
			}
			return all, nil
		})
		c.svc.Register(w)
		c.settle(t)
		handle, err := w.Start(t.Context(), c.svc, 1)
		kit.Must(t, err)
		c.spent(t, costs{"start_run": 1, "park_run": 1}, 0)
		kit.Must(t, letter.Send(t.Context(), c.svc, handle.RunID(), "1"))
		kit.Receive(t, "the first letter", inside)
		kit.Must(t, letter.Send(t.Context(), elsewhere, handle.RunID(), "3"))
		kit.Must(t, other.Send(t.Context(), elsewhere, handle.RunID(), "2"))
		close(proceed)
		kit.Until(t, "it has completed", func() bool {
			return kit.One[bool](t, c.side, `SELECT status = 'completed' AND output = '"123"' FROM workflows.workflow_runs WHERE id = $1`, handle.RunID())
		})
	})
}
