package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// impatient waits for a result for a moment, and returns what it is told when that is over.
func impatient[T any](t *testing.T, handle *workflow.Handle[T]) error {
	t.Helper()
	_, err := handle.Result(kit.Within(t, 300*time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("result %v, want the context's end", err)
	}
	return err
}

func wantSays(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil || !containsAll(err.Error(), words) {
		t.Errorf("error %q does not say %q", err, words)
	}
}

// Whoever waits in vain is told what the run was waiting for.
func TestResultSaysWhatTheRunWaitsFor(t *testing.T) {
	t.Parallel()
	greet := workflow.Define("greet", func(_ context.Context, n int) (int, error) { return n, nil })
	t.Run("nobody works", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		handle, err := greet.Start(t.Context(), b.svc, 7)
		kit.Must(t, err)
		wantSays(t, impatient(t, handle), "pending", "worker", handle.RunID())
	})
	t.Run("nobody has registered it", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		b.svc.Register(workflow.Define("other", func(_ context.Context, n int) (int, error) { return n, nil }))
		kit.Work(t, b.svc)
		if _, _, err := run(b, "warm", func(context.Context, int) (int, error) { return 0, nil }); err != nil {
			t.Fatal(err)
		}
		handle, err := greet.Start(t.Context(), b.svc, 7)
		kit.Must(t, err)
		wantSays(t, impatient(t, handle), "pending", "worker", `"greet"`)
	})
	t.Run("it is parked", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		b.svc = b.service(parking)
		w := workflow.Define("sleeper", func(ctx context.Context, _ int) (int, error) {
			return 0, workflow.Sleep(ctx, "long", time.Hour)
		})
		b.svc.Register(w)
		kit.Work(t, b.svc)
		handle, err := w.Start(t.Context(), b.svc, 7)
		kit.Must(t, err)
		kit.Until(t, "the run is parked", func() bool { return b.get(handle.RunID()).Status == workflow.RunSuspended })
		wantSays(t, impatient(t, handle), "suspended", "until")
	})
	t.Run("it is delayed", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		handle, err := greet.Start(t.Context(), b.svc, 7, workflow.WithDelay(time.Hour))
		kit.Must(t, err)
		wantSays(t, impatient(t, handle), "pending", "until")
	})
	t.Run("it is suspended by hand", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		handle, err := greet.Start(t.Context(), b.svc, 7)
		kit.Must(t, err)
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), handle.RunID(), workflow.RunRunning, nil, nil))
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), handle.RunID(), workflow.RunSuspended, nil, nil))
		wantSays(t, impatient(t, handle), "suspended", "by hand")
	})
	t.Run("a worker has it", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		inside, release := make(chan struct{}), make(chan struct{})
		defer close(release)
		w := workflow.Define("slow", func(ctx context.Context, n int) (int, error) {
			return workflow.Do(ctx, "s", func(context.Context) (int, error) { close(inside); <-release; return n, nil })
		})
		b.svc.Register(w)
		kit.Work(t, b.svc)
		handle, err := w.Start(t.Context(), b.svc, 7)
		kit.Must(t, err)
		kit.Receive(t, "the run is inside its step", inside)
		owner := b.get(handle.RunID()).Owner
		wantSays(t, impatient(t, handle), "running", owner)
		wantSays(t, impatient(t, w.Handle(b.service(), handle.RunID())), "running", owner)
	})
	t.Run("it is blocked", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		handle := b.release(code{release: "old", stages: []stage{plain("a")}, holds: true}).history()
		b.release(code{release: "new", stages: []stage{plain("renamed")}}).deploy()
		b.blocked(handle.RunID())
		wantSays(t, impatient(t, handle), "blocked", "renamed")
	})
}

// When the look-ups fail, the error says why: here, and not in a log that nobody has set up.
func TestResultSaysWhyItCannotLook(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	admin := b.role()
	w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
	handle, err := w.Start(t.Context(), b.svc, 7)
	kit.Must(t, err)
	role := kit.One[string](t, b.db, "SELECT quote_ident(current_user)")
	kit.Exec(t, admin, "REVOKE SELECT ON workflows.workflow_runs FROM "+role)
	wantSays(t, impatient(t, handle), "permission denied")
	kit.Exec(t, admin, "GRANT SELECT ON workflows.workflow_runs TO "+role)
	b.svc.Register(w)
	kit.Work(t, b.svc)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
		t.Errorf("once it can look: %d, %v", got, err)
	}
}

// A run that fails is told once, with what is needed to look it up; so is each failed attempt, with the time of the next,
// and the last one as the last.
func TestFailuresAreLogged(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]func(context.Context, func(context.Context) (int, error)) (int, error){
		"step": func(ctx context.Context, f func(context.Context) (int, error)) (int, error) {
			return workflow.Do(ctx, "charge", f, workflow.WithRetry(workflow.RetryPolicy{MaxAttempts: 3, FirstDelay: 10 * time.Millisecond}))
		},
		"function": func(ctx context.Context, f func(context.Context) (int, error)) (int, error) { return f(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			log := b.journaled()
			kit.Work(t, b.svc)
			handle, _, err := run(b, "payment", func(ctx context.Context, _ int) (int, error) {
				return kind(ctx, func(context.Context) (int, error) {
					return 0, &workflow.Error{Code: "declined", Message: "the bank said no"}
				})
			})
			if err == nil {
				t.Fatal("the run was completed")
			}
			kit.Until(t, "no run is in flight", func() bool { return inFlight(t, b.svc) == 0 })
			var ends []entry
			for _, e := range log.all(slog.LevelWarn, handle.RunID()) {
				if strings.Contains(e.message, "run") && strings.Contains(e.message, "failed") {
					ends = append(ends, e)
				}
			}
			if len(ends) != 1 {
				t.Fatalf("the end of the run was told %d times: %v", len(ends), log.all(slog.LevelDebug))
			}
			for key, want := range map[string]string{"run_id": handle.RunID(), "workflow": "payment", "code": "declined"} {
				if got := ends[0].attrs[key]; got != want {
					t.Errorf("%s is %q, want %q: %v", key, got, want, ends[0])
				}
			}
			if !strings.Contains(ends[0].String(), "the bank said no") {
				t.Errorf("the reason is missing: %v", ends[0])
			}
			if name == "function" {
				return
			}
			var attempts []entry
			for _, e := range log.all(slog.LevelInfo, handle.RunID(), "charge") {
				if e.attrs["attempt"] != "" {
					attempts = append(attempts, e)
				}
			}
			if len(attempts) != 3 {
				t.Fatalf("%d attempts were told, want 3: %v", len(attempts), attempts)
			}
			for i, e := range attempts {
				if e.attrs["attempt"] != fmt.Sprint(i+1) {
					t.Errorf("attempt %d was told as %v", i+1, e)
				}
			}
			if attempts[2].message == attempts[0].message {
				t.Errorf("the last attempt reads as those before: %v", attempts[2])
			}
			for _, e := range attempts[:2] {
				if len(e.attrs) <= len(attempts[2].attrs) && !strings.Contains(e.String(), "next") && !strings.Contains(e.String(), "retry") {
					t.Errorf("does not say when the next attempt is: %v", e)
				}
			}
		})
	}
}

// A worker that has nothing to do because nobody told it what says so, as does one that leaves runs alone because it does
// not know them.
func TestWorkersThatCannotHelpSaySo(t *testing.T) {
	t.Parallel()
	t.Run("without a workflow", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		log := b.journaled()
		kit.Work(t, b.svc)
		kit.Until(t, "it says that it has none", func() bool { return len(log.all(slog.LevelWarn, "workflow")) > 0 })
	})
	t.Run("with others", func(t *testing.T) {
		t.Parallel()
		b := mortal(t)
		_, err := b.svc.CreateRun(t.Context(), "forgotten", 7)
		kit.Must(t, err)
		log := b.journaled()
		svc := b.svc
		svc.Register(workflow.Define("known", func(_ context.Context, n int) (int, error) { return n, nil }))
		kit.Work(t, svc)
		kit.Until(t, "it names the one that waits", func() bool { return len(log.all(slog.LevelWarn, "forgotten")) > 0 })
	})
}

// The worker's trouble is there for who asks, without a logger; so is how many runs are blocked.
func TestStatsTellTheWorkersTrouble(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.role()
	inside, release := make(chan struct{}), make(chan struct{})
	w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "s", func(context.Context) (int, error) { close(inside); <-release; return n, nil })
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handle, err := w.Start(t.Context(), b.svc, 7)
	kit.Must(t, err)
	kit.Receive(t, "the run is inside its step", inside)
	stats := func() workflow.Stats {
		t.Helper()
		stats, err := b.svc.Stats(t.Context())
		kit.Must(t, err)
		return stats
	}
	if s := stats(); s.LastError != nil || !s.LastErrorAt.IsZero() || s.Suspended[workflow.SuspendedBlocked] != 0 {
		t.Errorf("before any trouble: %v at %s, %d blocked", s.LastError, s.LastErrorAt, s.Suspended[workflow.SuspendedBlocked])
	}
	began := time.Now()
	role := kit.One[string](t, b.db, "SELECT quote_ident(current_user)")
	kit.Exec(t, admin, "REVOKE INSERT ON workflows.workflow_steps FROM "+role)
	close(release)
	kit.Until(t, "Stats says what is missing", func() bool {
		s := stats()
		return s.LastError != nil && strings.Contains(s.LastError.Error(), "permission denied") && !s.LastErrorAt.Before(began)
	})
	kit.Exec(t, admin, "GRANT INSERT ON workflows.workflow_steps TO "+role)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
		t.Errorf("with the right again: %d, %v", got, err)
	}
}
