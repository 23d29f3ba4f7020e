package notify_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// What is started in one process is executed in another, and its result is known in the first: again and again, and sooner than
// either of them would have polled once.
func TestStartToResultAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		d.start(t, database).works(double)
		asks := d.start(t, database)
		asks.doubled(kit.Context(t), 0)
		asks.doubled(kit.Context(t), 0)
		asks.hears(1)
		ctx, before := kit.Within(t, 15*time.Second), asks.awaits()
		for i := range 20 { // at 2 s each if the end was not heard of
			asks.doubled(ctx, i)
		}
		if n := asks.awaits() - before; n > 50 {
			t.Errorf("20 results took %d look-ups", n)
		}
	})
}

// A signal wakes a run that waits in no process, and one that waits in another because a branch of it is busy there.
func TestSignalAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		note := workflow.DefineSignal[string]("note")
		busy := make(chan string, 1)
		w := workflow.Define("w", func(ctx context.Context, isBusy bool) ([]string, error) {
			return workflow.Parallel(ctx, "p", []bool{false, isBusy}, func(ctx context.Context, isBusy bool) (string, error) {
				if !isBusy {
					got, err := note.Wait(ctx, 0)
					if err == nil {
						busy <- got
					}
					return got, err
				}
				return workflow.Do(ctx, "busy", func(ctx context.Context) (string, error) { // until the other branch has gone on
					select {
					case got := <-busy:
						return got + " too", nil
					case <-ctx.Done():
						return "", context.Cause(ctx)
					}
				})
			})
		})
		worker := d.start(t, database).works(w)
		sender := d.start(t, database)
		handle, err := w.Start(t.Context(), worker, true)
		kit.Must(t, err)
		kit.Until(t, "the run waits in its process", func() bool { return worker.count("start_run") > 0 && inFlight(t, worker) == 1 })
		kit.Must(t, note.Send(t.Context(), sender, handle.RunID(), "held"))
		got, err := handle.Result(kit.Context(t))
		if err != nil || got[0] != "held" || got[1] != "held too" {
			t.Fatalf("%q, %v", got, err)
		}

		parks := workflow.Define("parks", func(ctx context.Context, _ int) (string, error) { return note.Wait(ctx, time.Hour) })
		worker.Register(parks)
		parked, err := parks.Start(t.Context(), worker, 0)
		kit.Must(t, err)
		kit.Until(t, "the run is parked", func() bool {
			run, err := sender.GetRun(t.Context(), parked.RunID())
			kit.Must(t, err)
			return run.Status == workflow.RunSuspended
		})
		kit.Must(t, note.Send(t.Context(), sender, parked.RunID(), "parked"))
		if got, err := parked.Result(kit.Context(t)); err != nil || got != "parked" {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

// A cancel ends the context of a run that another process executes, long before its heart would have beaten; whoever awaits the run
// in a third one knows.
func TestCancelAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		inside, ended := make(chan string, 1), make(chan error, 1)
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
				inside <- workflow.RunID(ctx)
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return 0, context.Cause(ctx)
			})
		})
		d.start(t, database).works(w)
		third, cancels := d.start(t, database), d.start(t, database)
		handle, err := w.Start(t.Context(), third, 0)
		kit.Must(t, err)
		result := kit.Go(t, func() error {
			_, err := handle.Result(kit.Context(t))
			return err
		})
		id := kit.Receive(t, "the run is executed", inside)
		third.hears(1)
		looked := third.awaits()
		kit.Must(t, cancels.Cancel(t.Context(), id))
		kit.WantIs(t, kit.Receive(t, "its context has ended", ended), workflow.ErrRunLost)
		kit.WantIs(t, kit.Receive(t, "the third process knows", result), workflow.ErrRunCancelled)
		t.Logf("%d look-ups", third.awaits()-looked)
	})
}

// The end of a child in another process wakes its parent, and the start of a child that process.
func TestChildAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		parent := workflow.Define("parent", func(ctx context.Context, n int) (int, error) {
			one, err := workflow.Call(ctx, "one", double, n)
			if err != nil {
				return 0, err
			}
			all, err := workflow.CallAll(ctx, "all", double, []int{one, one, one})
			if err != nil {
				return 0, err
			}
			return len(all), nil
		})
		d.start(t, database).works(double)
		p := d.start(t, database).works(parent)
		for i := range 3 {
			handle, err := parent.Start(t.Context(), p, i)
			kit.Must(t, err)
			got, err := handle.Result(kit.Context(t))
			if err != nil || got != 3 {
				t.Fatalf("%d, %v", got, err)
			}
		}
	})
}

// What ends or is deleted by hand is known where it is awaited, and what is handed back by a process that stops goes on in another.
func TestByHandAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		awaits, hand := d.start(t, database), d.start(t, database)
		ctx := kit.Within(t, 12*time.Second) // at 2 s each if nobody was told
		for i := range 10 {
			does, want := func(id string) error { return hand.DeleteRun(ctx, id) }, workflow.ErrRunNotFound
			if i%2 == 0 {
				does = func(id string) error { return hand.UpdateRunStatus(ctx, id, workflow.RunCancelled, nil, nil) }
				want = workflow.ErrRunCancelled
			}
			handle, err := double.Start(t.Context(), hand, 1)
			kit.Must(t, err)
			looked := awaits.awaits()
			result := kit.Go(t, func() error {
				_, err := double.Handle(awaits, handle.RunID()).Result(ctx)
				return err
			})
			awaits.hears(1)
			kit.Until(t, "it was looked up", func() bool { return awaits.awaits() > looked })
			kit.Must(t, does(handle.RunID()))
			kit.WantIs(t, kit.Receive(t, "it is known", result), want)
		}
	})
}

// A worker that stops tells the others of what it hands back.
func TestHandedBackAcrossProcesses(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		inside := make(chan struct{}, 2)
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
				inside <- struct{}{}
				if workflow.Attempt(ctx) > 1 || len(inside) > 1 {
					return 1, nil
				}
				<-ctx.Done()
				return 0, context.Cause(ctx)
			})
		})
		stops := d.start(t, database, func(c *workflow.Config) { c.Drain = time.Millisecond })
		stops.Register(w)
		stop := kit.Work(t, stops)
		stops.hears(1)
		handle, err := w.Start(t.Context(), stops, 0)
		kit.Must(t, err)
		kit.Until(t, "the run is executed", func() bool { return len(inside) == 1 })
		other := d.start(t, database).works(w)
		stop()
		if got, err := w.Handle(other, handle.RunID()).Result(kit.Context(t)); err != nil || got != 1 {
			t.Fatalf("%d, %v", got, err)
		}
	})
}

// While polls are rare, a run whose time has come does not wait for one in a process that knows of it.
func TestTimersWhilePollsAreRare(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
			if err := workflow.Sleep(ctx, "nap", 100*time.Millisecond); err != nil {
				return 0, err
			}
			return workflow.Call(ctx, "later", double, 1, workflow.WithDelay(100*time.Millisecond))
		})
		p := d.start(t, database, func(c *workflow.Config) { c.ParkAfter = time.Millisecond }).works(w, double)
		handle, err := w.Start(t.Context(), p, 0, workflow.WithDelay(100*time.Millisecond))
		kit.Must(t, err)
		if got, err := handle.Result(kit.Context(t)); err != nil || got != 2 {
			t.Fatalf("%d, %v", got, err)
		}
	})
}

func inFlight(t *testing.T, p *process) int {
	t.Helper()
	stats, err := p.Stats(t.Context())
	kit.Must(t, err)
	return stats.InFlight
}

// After the commit of a transaction of the application Wake tells others; before it nobody is told, and of one that is rolled back
// never.
func TestWakeTellsAfterTheCommit(t *testing.T) {
	eachDriver(t, func(t *testing.T, d driver) {
		database := pgtest.New(t)
		db := database.Open(t, d.access)
		worker := d.start(t, database).works(double)
		p := d.start(t, database)
		note := workflow.DefineSignal[string]("note")
		looks := worker.count("claim_runs")
		suspended, err := p.CreateRun(t.Context(), "nobody's", 1)
		kit.Must(t, err)
		kit.Until(t, "what was created is told", func() bool { return p.count("notify") == 1 })
		kit.Until(t, "what was told is heard", func() bool { return worker.count("claim_runs") > looks })
		before := kit.One[int64](t, db, "SELECT count(*) FROM workflows.workflow_runs")

		rolledBack := kit.Begin(t, db)
		_, err = double.Start(t.Context(), p.In(rolledBack), 1)
		kit.Must(t, err)
		kit.Must(t, rolledBack.Rollback())
		committed := func() *workflow.Handle[int] {
			tx := kit.Begin(t, db)
			handle, err := double.Start(t.Context(), p.In(tx), 21)
			kit.Must(t, err)
			if run, err := p.In(tx).GetRun(t.Context(), suspended); err == nil && !run.Status.Finished() {
				kit.Must(t, note.Send(t.Context(), p.In(tx), suspended, "x"))
				kit.Must(t, p.In(tx).Cancel(t.Context(), suspended))
			}
			kit.Must(t, tx.Commit())
			return handle
		}
		handle, runs := committed(), int64(1)
		for ; runs < 10; runs++ { // a look that came late on a busy machine may have found one
			if _, err := handle.Result(kit.Within(t, time.Second)); errors.Is(err, context.DeadlineExceeded) {
				break
			}
			handle = committed()
		}
		if runs == 10 {
			t.Fatal("each run was executed though nobody was told")
		}
		if n := p.count("notify"); int64(n) > 1+runs { // that a listener begins to hear for a Result is one
			t.Errorf("%d notifications without Wake", n-1)
		}
		p.Wake()
		if got, err := handle.Result(kit.Context(t)); err != nil || got != 42 {
			t.Fatalf("%d, %v", got, err)
		}
		if n := kit.One[int64](t, db, "SELECT count(*) FROM workflows.workflow_runs"); n != before+runs {
			t.Errorf("%d runs, want %d", n, before+runs)
		}
	})
}
