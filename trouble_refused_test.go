package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// The database refuses what some of many runs write, at the same moment as the others write: those fail with what it said,
// and the others never learn of it.
func TestRefusedRowsHarmTheirRunsAlone(t *testing.T) {
	t.Parallel()
	const runs = 60
	for name, c := range map[string]struct {
		table, events, condition string
		fn                       func(context.Context, int, *barrier) (int, error)
	}{
		"results of steps": {table: "workflow_steps", condition: "NEW.status = 'succeeded' AND NEW.result::text LIKE '%3'",
			fn: func(ctx context.Context, n int, together *barrier) (int, error) {
				return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) { together.wait(ctx); return n, nil })
			}},
		"results of transactional steps": {table: "workflow_steps", condition: "NEW.status = 'succeeded' AND NEW.result::text LIKE '%3'",
			fn: func(ctx context.Context, n int, together *barrier) (int, error) {
				return workflow.DoTx(ctx, "s", func(ctx context.Context, _ *sql.Tx) (int, error) { return n, nil }, quickly(3))
			}},
		"failed attempts": {table: "workflow_steps", condition: "NEW.status <> 'succeeded' AND NEW.error::text LIKE '%bad%'",
			fn: func(ctx context.Context, n int, together *barrier) (int, error) {
				return workflow.Do(ctx, "s", func(ctx context.Context) (int, error) {
					if workflow.Attempt(ctx) > 1 {
						return n, nil
					}
					together.wait(ctx)
					if bad(n) {
						return 0, errors.New("bad")
					}
					return 0, errors.New("the first time")
				}, quickly(2))
			}},
		"sleeps": {table: "workflow_steps", condition: "NEW.kind = 'sleep' AND NEW.step_name LIKE '%bad%'",
			fn: func(ctx context.Context, n int, together *barrier) (int, error) {
				if _, err := workflow.Do(ctx, "s", func(ctx context.Context) (int, error) { together.wait(ctx); return n, nil }); err != nil {
					return 0, err
				}
				return n, workflow.Sleep(ctx, map[bool]string{true: "bad", false: "nap"}[bad(n)], time.Millisecond)
			}},
		"outputs": {table: "workflow_runs", condition: "NEW.output::text LIKE '%3'",
			fn: func(ctx context.Context, n int, together *barrier) (int, error) { together.wait(ctx); return n, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			refused := b.refuses(b.db, c.table, "INSERT OR UPDATE", c.condition)
			together := newBarrier(runs)
			svc := b.service(func(c *workflow.Config) { c.Concurrency = runs })
			b.svc = svc
			w := workflow.Define("w", func(ctx context.Context, n int) (int, error) { return c.fn(ctx, n, together) })
			svc.Register(w)
			kit.Work(t, svc)
			handles := startAll(t, svc, w, runs)
			if !strings.Contains(name, "transactional") {
				together.release(t)
			}
			for i, got := range results(t, handles) {
				switch {
				case !bad(i) && (got.err != nil || got.n != i):
					t.Errorf("run %d, which nobody refuses: %d, %v", i, got.n, got.err)
				case bad(i) && (got.err == nil || !strings.Contains(got.err.Error(), "refused by the application")):
					t.Errorf("run %d: %v, want what the database said", i, got.err)
				}
			}
			kit.Until(t, "no run is in flight", func() bool { return inFlight(t, svc) == 0 })
			if n := refused(); n > 2*runs { // tried for ever it is thousands
				t.Errorf("the database refused %d times the rows of %d runs", n, runs/10)
			}
		})
	}
}

// Starts that the database refuses, written together with others: each caller is told of its own.
func TestRefusedStartsHarmTheirCallersAlone(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	refused := b.refuses(b.db, "workflow_runs", "INSERT", "NEW.input::text LIKE '%3'")
	w := workflow.Define("w", func(_ context.Context, n int) (int, error) { return n, nil })
	b.svc.Register(w)
	kit.Work(t, b.svc)
	const runs = 60
	handles := make([]*workflow.Handle[int], runs)
	soon := kit.Within(t, 15*testLease)
	for i, err := range kit.Together(runs, func(i int) (err error) {
		handles[i], err = w.Start(soon, b.svc, i)
		return err
	}) {
		switch {
		case bad(i) && (err == nil || !strings.Contains(err.Error(), "refused by the application")):
			t.Errorf("start %d: %v, want what the database said", i, err)
		case !bad(i) && err != nil:
			t.Errorf("start %d, which nobody refuses: %v", i, err)
		case !bad(i):
			if got, err := handles[i].Result(soon); err != nil || got != i {
				t.Errorf("run %d: %d, %v", i, got, err)
			}
		}
	}
	kit.Until(t, "no run is in flight", func() bool { return inFlight(t, b.svc) == 0 })
	if n := refused(); n > runs {
		t.Errorf("the database refused %d times the rows of %d runs", n, runs/10)
	}
}

// A database whose encoding lacks what a value has: JSON of Go's own making, which escapes the line separators.
func TestResultsThatTheEncodingLacks(t *testing.T) {
	t.Parallel()
	b := encoded(t, pgtest.PGX, "SQL_ASCII")
	const runs = 20
	together := newBarrier(runs)
	w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
		_, err := workflow.Do(ctx, "s", func(ctx context.Context) ([]string, error) {
			together.wait(ctx)
			if bad(n) {
				return []string{"line\u2028separator"}, nil
			}
			return nil, nil
		})
		return n, err
	})
	b.svc.Register(w)
	kit.Work(t, b.svc)
	handles := startAll(t, b.svc, w, runs)
	together.release(t)
	for i, got := range results(t, handles) {
		if bad(i) != (got.err != nil) || got.err == nil && got.n != i {
			t.Errorf("run %d: %d, %v; want an error: %t", i, got.n, got.err, bad(i))
		}
	}
	kit.Until(t, "no run is in flight", func() bool { return inFlight(t, b.svc) == 0 })
}

// A right that is missing for a while is not the end of a run: it goes on when the right is there again, and meanwhile the
// log says what is missing.
func TestRightsThatAreMissingForAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ revoke, grant string }{
		"steps": {"REVOKE INSERT, UPDATE ON workflows.workflow_steps FROM PUBLIC, {role}", "GRANT INSERT, UPDATE ON workflows.workflow_steps TO PUBLIC"},
		"runs":  {"REVOKE UPDATE ON workflows.workflow_runs FROM PUBLIC, {role}", "GRANT UPDATE ON workflows.workflow_runs TO PUBLIC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mortal(t)
			admin := b.role()
			log := b.journaled()
			svc := b.svc
			var calls atomic.Int32
			inside, release := make(chan struct{}, 10), make(chan struct{})
			w := workflow.Define("w", func(ctx context.Context, n int) (int, error) {
				return workflow.Do(ctx, "s", func(context.Context) (int, error) {
					calls.Add(1)
					inside <- struct{}{}
					<-release
					return n, nil
				})
			})
			svc.Register(w)
			kit.Work(t, svc)
			const runs = 5
			handles := startAll(t, svc, w, runs)
			for range runs {
				kit.Receive(t, "a run is inside its step", inside)
			}
			role := kit.One[string](t, b.db, "SELECT quote_ident(current_user)")
			kit.Exec(t, admin, strings.ReplaceAll(c.revoke, "{role}", role))
			close(release)
			kit.Until(t, "the log says what is missing", func() bool {
				return len(log.all(slog.LevelWarn, "permission denied")) > 0
			})
			kit.Exec(t, admin, c.grant)
			for i, handle := range handles {
				if got, err := handle.Result(kit.Context(t)); err != nil || got != i {
					t.Errorf("run %d: %d, %v", i, got, err)
				}
			}
			if calls.Load() != runs {
				t.Errorf("steps were executed %d times, want %d", calls.Load(), runs)
			}
		})
	}
}
