package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// hangers are functions that go on, whatever becomes of their context, until release is closed. They say when they hang.
func hangers(inside chan<- struct{}, release <-chan struct{}) map[string]func(context.Context, int) (int, error) {
	hang := func() (int, error) {
		inside <- struct{}{}
		<-release
		return 1, nil
	}
	plain := func(ctx context.Context, o ...workflow.StepOption) (int, error) {
		return workflow.Do(ctx, "hangs", func(context.Context) (int, error) { return hang() }, o...)
	}
	return map[string]func(context.Context, int) (int, error){
		"step":     func(ctx context.Context, _ int) (int, error) { return plain(ctx) },
		"function": func(context.Context, int) (int, error) { return hang() },
		"step with a timeout": func(ctx context.Context, _ int) (int, error) {
			return plain(ctx, workflow.WithAttemptTimeout(100*time.Millisecond))
		},
		"transactional step": func(ctx context.Context, _ int) (int, error) {
			return workflow.DoTx(ctx, "hangs", func(context.Context, *sql.Tx) (int, error) { return hang() })
		},
		"step of a branch": func(ctx context.Context, _ int) (n int, err error) {
			var branches sync.WaitGroup
			branches.Go(func() { n, err = plain(workflow.Branch(ctx, "b")) })
			branches.Wait()
			return n, err
		},
	}
}

// A deadline is kept by the library and not by the code that it bounds, which may never return. That code keeps its slot.
func TestDeadlineOfCodeThatHangs(t *testing.T) {
	t.Parallel()
	for name := range hangers(nil, nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			inside, release := make(chan struct{}, 10), make(chan struct{})
			defer close(release)
			svc := b.one()
			w := workflow.Define("hangs", hangers(inside, release)[name])
			svc.Register(w)
			const deadline = 2 * time.Second
			handle, err := w.Start(t.Context(), svc, 0, workflow.WithDeadline(deadline))
			if err != nil {
				t.Fatal(err)
			}
			kit.Receive(t, "the code hangs", inside)
			if _, err := handle.Result(kit.Within(t, 8*testLease)); !errors.Is(err, &workflow.Error{Code: "deadline"}) {
				t.Errorf("result %v, want code deadline", err)
			}
			run := b.get(handle.RunID())
			if run.Status != workflow.RunFailed || run.UpdatedAt.Sub(run.CreatedAt) > 3*deadline {
				t.Errorf("the run is %s, %s after its start", run.Status, run.UpdatedAt.Sub(run.CreatedAt))
			}
			if n := hanging(t, svc); n != 1 {
				t.Errorf("%d slots are taken by code that hangs, want 1", n)
			}
		})
	}
}

// Once Cancel has returned, who waits for the run is told, here and elsewhere, although its code hangs.
func TestCancelOfCodeThatHangs(t *testing.T) {
	t.Parallel()
	for name := range hangers(nil, nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			inside, release := make(chan struct{}, 10), make(chan struct{})
			free := sync.OnceFunc(func() { close(release) })
			defer free()
			svc := b.one()
			w := workflow.Define("hangs", hangers(inside, release)[name])
			svc.Register(w)
			handle, err := w.Start(t.Context(), svc, 0)
			if err != nil {
				t.Fatal(err)
			}
			kit.Receive(t, "the code hangs", inside)
			early := make(chan error, 1)
			go func() {
				_, err := handle.Result(kit.Within(t, 8*testLease))
				early <- err
			}()
			if err := svc.Cancel(t.Context(), handle.RunID()); err != nil {
				t.Fatal(err)
			}
			if err := <-early; !errors.Is(err, workflow.ErrRunCancelled) {
				t.Errorf("who waited before: %v, want ErrRunCancelled", err)
			}
			for who, h := range map[string]*workflow.Handle[int]{
				"the starter": handle, "a new handle": w.Handle(svc, handle.RunID()), "another process": w.Handle(b.service(), handle.RunID()),
			} {
				if _, err := h.Result(kit.Within(t, 4*testLease)); !errors.Is(err, workflow.ErrRunCancelled) {
					t.Errorf("%s: %v, want ErrRunCancelled", who, err)
				}
			}
			next, err := w.Start(t.Context(), svc, 0)
			if err != nil {
				t.Fatal(err)
			}
			if status := b.get(next.RunID()).Status; status != workflow.RunPending || hanging(t, svc) != 1 {
				t.Errorf("the next run is %s, %d slots are taken by code that hangs; want it to wait for the slot", status, hanging(t, svc))
			}
			free()
			if got, err := next.Result(kit.Within(t, 20*testLease)); err != nil || got != 1 {
				t.Errorf("the next run, once the code has returned: %d, %v", got, err)
			}
		})
	}
}

// Code that goes on after its end is named in the log, again and again.
func TestCodeThatHangsIsNamed(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*bench, string) error{
		"cancelled":    func(b *bench, id string) error { return b.svc.Cancel(b.t.Context(), id) },
		"deadline":     func(*bench, string) error { return nil },
		"step timeout": func(*bench, string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			log := newJournal()
			inside, release := make(chan struct{}, 10), make(chan struct{})
			defer close(release)
			b.svc = b.service(func(c *workflow.Config) { c.Logger = slog.New(log) })
			fn, options := "step", []workflow.StartOption(nil)
			switch name {
			case "deadline":
				options = append(options, workflow.WithDeadline(2*time.Second))
			case "step timeout":
				fn = "step with a timeout"
			}
			w := workflow.Define("w", hangers(inside, release)[fn])
			b.svc.Register(w)
			kit.Work(b.t, b.svc)
			handle, err := w.Start(t.Context(), b.svc, 0, options...)
			if err != nil {
				t.Fatal(err)
			}
			kit.Receive(t, "the step hangs", inside)
			if err := stop(b, handle.RunID()); err != nil {
				t.Fatal(err)
			}
			kit.Until(t, "four warnings name the run and the step", func() bool {
				return len(log.all(slog.LevelWarn, handle.RunID(), "hangs")) >= 4
			})
		})
	}
}

func hanging(t *testing.T, svc *workflow.Service) int {
	t.Helper()
	stats, err := svc.Stats(context.Background())
	kit.Must(t, err)
	return stats.Hanging
}
