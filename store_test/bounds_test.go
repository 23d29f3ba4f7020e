package store_test

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// inTime runs a call that must end by a bound of the library's, and returns its error.
func inTime(t *testing.T, bound time.Duration, call func() error) error {
	t.Helper()
	start := time.Now()
	done := make(chan error, 1) // not waited for: it may hang, which is the point
	go func() { done <- call() }()
	select {
	case err := <-done:
		if waited := time.Since(start); waited < bound {
			t.Errorf("gave up after %v, want %v", waited, bound)
		}
		return err
	case <-time.After(bound + 8*time.Second):
		t.Errorf("not back long after its bound of %v", bound)
		return nil
	}
}

// A call that waits for a lock ends after Config.Timeout, and says so.
func TestTimeoutOnLockedRow(t *testing.T) {
	eachThatCancels(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, timeout(short))
		id := b.newRun(t)
		release := b.holdRow(t, id)
		creating := kit.Begin(t, b.side)
		kit.Exec(t, creating, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
			VALUES ('new', 'w', 'pending', '1', 1, 1)`)
		for name, call := range map[string]func() error{
			"step":   func() error { return b.svc.SetStepResult(t.Context(), id, "s", 1) },
			"status": func() error { return b.svc.UpdateRunStatus(t.Context(), id, workflow.RunRunning, nil, nil) },
			"delete": func() error { return b.svc.DeleteRun(t.Context(), id) },
			"resume": func() error { return b.svc.Resume(t.Context(), id) },
			"create": func() error { _, err := b.svc.CreateRunWithID(t.Context(), "new", "w", 1); return err },
		} {
			t.Run(name, func(t *testing.T) {
				err := inTime(t, short, call)
				kit.WantIs(t, err, workflow.ErrTimeout)
				if err != nil && strings.Count(err.Error(), "Config.Timeout") != 1 {
					t.Errorf("error %q does not say, or not once, which bound", err)
				}
				if err != nil && (!strings.HasPrefix(err.Error(), "workflow: ") || strings.Contains(err.Error(), "by itself")) {
					t.Errorf("error %q does not begin with what was tried, or blames the server", err)
				}
			})
		}
		// The server may learn late that nobody waits for the answer any more, and would then go on.
		kit.Until(t, "end of the calls that were given up", func() bool { return b.waiting(t) == 0 })
		release()
		kit.Must(t, creating.Rollback())
		patient := b.service(t, b.db)
		kit.Must(t, patient.SetStepResult(t.Context(), id, "s", 1))
		kit.Must(t, patient.DeleteRun(t.Context(), id))
	})
}

// The caller's own end of patience is told apart from Config.Timeout.
func TestCallersContextEndsFirst(t *testing.T) {
	eachThatCancels(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		b.holdRow(t, id)
		cause := errors.New("the caller's reason")

		t.Run("deadline", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), short)
			defer cancel()
			err := inTime(t, 0, func() error { return b.svc.SetStepResult(ctx, id, "s", 1) })
			kit.WantIs(t, err, context.DeadlineExceeded)
			if errors.Is(err, workflow.ErrTimeout) {
				t.Errorf("error = %v, which is not Config.Timeout", err)
			}
		})
		t.Run("cancellation", func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			answer := kit.Go(t, func() error { return b.svc.SetStepResult(ctx, id, "s", 1) })
			kit.Waiters(t, b.side, 1)
			cancel(cause)
			err := kit.Receive(t, "the answer", answer)
			kit.WantIs(t, err, cause)
			kit.WantIs(t, err, context.Canceled)
		})
	})
}

// The application's pool may be exhausted; that too has a bound.
func TestTimeoutOnExhaustedPool(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, timeout(short), lockTimeout(short))
		id := b.newRun(t)
		b.db.SetMaxOpenConns(1)
		conn, err := b.db.Conn(t.Context())
		kit.Must(t, err)
		for _, call := range calls {
			kit.WantIs(t, inTime(t, short, func() error { return call(t.Context(), b.svc.State, id, "s") }), workflow.ErrTimeout)
		}
		kit.Must(t, conn.Close())
		kit.Until(t, "the connection serves again", func() bool { _, err := b.svc.GetRun(t.Context(), id); return err == nil })
		// One connection is enough for all but calling the service inside of fn.
		kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
			_, err := b.svc.GetRun(ctx, id)
			kit.WantIs(t, err, workflow.ErrTimeout)
			return state.SetStepResult(ctx, id, "s", 1)
		}))
	})
}

// fn itself has no bound but the caller's.
func TestTimeoutDoesNotBoundFn(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, timeout(short), lockTimeout(short))
		id := b.newRun(t)
		kit.Must(t, b.svc.WithRunLock(t.Context(), id, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(4 * short): // longer than both bounds together; nothing signals that they passed
			}
			return state.SetStepResult(ctx, id, "s", 1)
		}))
		if !b.hasStep(t, id) {
			t.Error("the step was not written")
		}
	})
}

// On a network that went dead the caller is released, whatever the driver does.
func TestDeadNetwork(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PQBinary, pgtest.PGX} {
		for name, open := range map[string]bool{"before connecting": false, "with open connections": true} {
			t.Run(access.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t, access)
				id := b.newRun(t)
				p, through := kit.NewProxy(t, b.AccessURL(t, access))
				db, err := sql.Open(access.Driver, through)
				kit.Must(t, err)
				t.Cleanup(func() {
					p.Close() // or lib/pq would not let its connections go
					kit.Must(t, db.Close())
				})
				if open {
					db.SetMaxIdleConns(len(calls) + 3)
					openConns(t, db, len(calls)+3)
				}
				p.Silence()
				b.releasesEverybody(t, db, id)
			})
		}
	}
}

// openConns opens n connections at once and leaves as many of them idle as the pool keeps.
func openConns(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	conns := make([]*sql.Conn, n)
	for i := range conns {
		var err error
		conns[i], err = db.Conn(t.Context())
		kit.Must(t, err)
	}
	for _, conn := range conns {
		kit.Must(t, conn.Close())
	}
}

func (b *bundle) releasesEverybody(t *testing.T, db *sql.DB, id string) {
	svc := b.service(t, db, timeout(short), lockTimeout(short))
	slow := b.service(t, db, timeout(time.Hour), lockTimeout(time.Hour))
	type attempt struct {
		name string
		call func() error
		want error
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	attempts := []attempt{
		{"Init", func() error { return svc.Init(t.Context()) }, workflow.ErrTimeout},
		{"caller's context", func() error { return slow.SetStepResult(ctx, id, "s", 1) }, context.DeadlineExceeded},
		{"caller's context, WithRunLock", func() error {
			return slow.WithRunLock(ctx, id, func(context.Context, *sql.Tx, workflow.State) error { return nil })
		}, context.DeadlineExceeded},
	}
	for name, call := range calls {
		attempts = append(attempts, attempt{name, func() error { return call(t.Context(), svc.State, id, "s") }, workflow.ErrTimeout})
	}

	type answer struct {
		attempt
		err error
	}
	answers := make(chan answer, len(attempts)) // not waited for in the end: one may hang, which is the point
	waiting := make(map[string]bool)
	for _, a := range attempts {
		waiting[a.name] = true
		go func() { answers <- answer{a, a.call()} }()
	}
	deadline := time.After(2*short + time.Second + 4*time.Second) // a second of grace is the driver's
	for len(waiting) > 0 {
		select {
		case a := <-answers:
			delete(waiting, a.name)
			if !errors.Is(a.err, a.want) {
				t.Errorf("%s: error = %v, want %v", a.name, a.err, a.want)
			}
		case <-deadline:
			t.Fatalf("not released: %v", slices.Sorted(maps.Keys(waiting)))
		}
	}
}

// Neither is the end of a section without a bound: the network may have died while fn ran.
func TestDeadNetworkInFn(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		for name, test := range map[string]struct{ of, want error }{
			"commit": {nil, workflow.ErrTimeout}, "rollback": {errOfFn, errOfFn},
		} {
			t.Run(access.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t, access)
				id := b.newRun(t)
				p, through := kit.NewProxy(t, b.AccessURL(t, access))
				db, err := sql.Open(access.Driver, through)
				kit.Must(t, err)
				t.Cleanup(func() {
					p.Close()
					kit.Must(t, db.Close())
				})
				kit.Must(t, db.PingContext(t.Context()))
				svc := b.service(t, db, timeout(time.Second))
				err = inTime(t, 0, func() error {
					return svc.WithRunLock(t.Context(), id, func(context.Context, *sql.Tx, workflow.State) error {
						p.Silence()
						return test.of
					})
				})
				kit.WantIs(t, err, test.want)
			})
		}
	}
}
