package workflow_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// An application's open transaction holds some runs of a worker: it has cancelled them and not committed. The others go on,
// with few connections too, and those that were held go on when it has rolled back.
func TestStrangersTransactionStopsNobodyElse(t *testing.T) {
	t.Parallel()
	for mode, statements := range map[string]workflow.Statements{"single": workflow.StatementsSingle, "in transactions": workflow.StatementsInTx} {
		for name, step := range map[string]func(context.Context, string, int) (int, error){
			"plain steps": func(ctx context.Context, name string, n int) (int, error) { return workflow.Do(ctx, name, value(n)) },
			"transactional steps": func(ctx context.Context, name string, n int) (int, error) {
				return workflow.DoTx(ctx, name, func(context.Context, *sql.Tx) (int, error) { return n, nil })
			},
			"failed attempts": func(ctx context.Context, name string, n int) (int, error) {
				return workflow.Do(ctx, name, func(ctx context.Context) (int, error) {
					if workflow.Attempt(ctx) == 1 {
						return 0, fmt.Errorf("the first time")
					}
					return n, nil
				}, quickly(2))
			},
			"sleeps": func(ctx context.Context, name string, n int) (int, error) {
				return n, workflow.Sleep(ctx, name, 10*time.Millisecond) // parks
			},
			"ends": func(_ context.Context, _ string, n int) (int, error) { return n, nil },
		} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				b := mortal(t)
				admin := b.db
				b.db = b.pg.Open(t, pgtest.PGX)
				b.db.SetMaxOpenConns(6)
				svc := b.service(parking, func(c *workflow.Config) { c.Statements = statements })
				b.svc = svc
				const held, others = 12, 10
				first := newBarrier(held + others)
				w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
					if _, err := workflow.Do(ctx, "first", func(ctx context.Context) (int, error) { first.wait(ctx); return n, nil }); err != nil {
						return 0, err
					}
					for i := range 5 {
						if _, err := step(ctx, fmt.Sprint("s", i), n); err != nil {
							return 0, err
						}
					}
					return n, nil
				})
				svc.Register(w)
				kit.Work(t, svc)
				handles := startAll(t, svc, w, held+others)
				for range held + others {
					kit.Receive(t, "a run is in its first step", first.ready)
				}
				stranger := kit.Begin(t, admin)
				for _, handle := range handles[:held] {
					kit.Must(t, svc.In(stranger).Cancel(t.Context(), handle.RunID()))
				}
				close(first.open)
				for i, got := range results(t, handles[held:]) {
					if got.err != nil || got.n != held+i {
						t.Errorf("run %d, which nobody holds: %d, %v", held+i, got.n, got.err)
					}
				}
				kit.Must(t, stranger.Rollback())
				for i, handle := range handles[:held] {
					if got, err := handle.Result(kit.Context(t)); err != nil || got != i {
						t.Errorf("run %d, no longer held: %d, %v", i, got, err)
					}
				}
			})
		}
	}
}

// A run alone, so that each of its writes is a statement of its own, beside one that is held.
func TestStrangersTransactionAndALoneRun(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	kit.Work(t, b.svc)
	inside, release := make(chan struct{}), make(chan struct{})
	w := workflow.Define("held", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) { close(inside); <-release; return n, nil })
	})
	b.svc.Register(w)
	handle, err := w.Start(t.Context(), b.svc, 7)
	kit.Must(t, err)
	kit.Receive(t, "the run is inside its step", inside)
	stranger := kit.Begin(t, b.db)
	kit.Must(t, b.svc.In(stranger).Cancel(t.Context(), handle.RunID()))
	close(release)
	for i := range 20 {
		if _, _, err := run(b, fmt.Sprint("alone", i), func(ctx context.Context, n int) (int, error) {
			return workflow.Do(ctx, "s", value(n))
		}); err != nil {
			t.Fatal(err)
		}
	}
	kit.Must(t, stranger.Commit())
	if _, err := handle.Result(kit.Context(t)); err == nil {
		t.Error("a run that was cancelled was completed")
	}
	kit.Until(t, "no run is in flight", func() bool { return inFlight(t, b.svc) == 0 })
}

// Starts with chosen ids that wait for a stranger's insert of the same ids take no slot meanwhile.
func TestStartsThatWaitTakeNoSlot(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	const slots = 20
	svc := b.service(func(c *workflow.Config) { c.Concurrency = slots })
	w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
	svc.Register(w)
	kit.Work(t, svc)
	b.svc = svc
	if _, _, err := run(b, "warm", func(context.Context, int) (int, error) { return 0, nil }); err != nil {
		t.Fatal(err)
	}
	stranger := kit.Begin(t, b.db)
	for i := range slots {
		_, err := svc.In(stranger).CreateRunWithID(t.Context(), fmt.Sprint("chosen ", i), "w", i)
		kit.Must(t, err)
	}
	type started struct {
		handle *workflow.Handle[int]
		err    error
	}
	var waiting []<-chan started
	for i := range slots {
		waiting = append(waiting, kit.Go(t, func() started {
			handle, err := w.Start(kit.Context(t), svc, i, workflow.WithRunID(fmt.Sprint("chosen ", i)))
			return started{handle, err}
		}))
	}
	kit.Waiters(t, b.db, slots)
	for i := range 10 {
		handle, err := w.Start(kit.Within(t, 8*testLease), svc, i)
		kit.Must(t, err)
		if got, err := handle.Result(kit.Within(t, 8*testLease)); err != nil || got != i {
			t.Fatalf("another run: %d, %v", got, err)
		}
	}
	kit.Must(t, stranger.Rollback())
	for i, w := range waiting {
		s := kit.Receive(t, "a start that waited", w)
		kit.Must(t, s.err)
		if got, err := s.handle.Result(kit.Context(t)); err != nil || got != i {
			t.Errorf("run %d, which waited: %d, %v", i, got, err)
		}
	}
}
