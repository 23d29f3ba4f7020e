package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

const beyond = "\u2192 \u6f22\u5b57" // what neither WIN1252 nor LATIN1 has

// A failed attempt counts, whatever its error is made of: what the database cannot store is reduced, and never the reason to
// try for ever.
func TestErrorsThatCannotBeStoredAreCounted(t *testing.T) {
	t.Parallel()
	rogue := map[string]error{
		"NUL in the message":        errors.New("a\x00b"),
		"NUL in the code":           &workflow.Error{Code: "a\x00", Message: "m"},
		"NUL in the step":           &workflow.Error{Message: "m", Step: "a\x00"},
		"NUL in the stack":          &workflow.Error{Message: "m", Stack: "a\x00"},
		"no UTF-8 in the message":   errors.New("a\xffb"),
		"no UTF-8 in the code":      &workflow.Error{Code: "\xff", Message: "m"},
		"no UTF-8 in the step":      &workflow.Error{Message: "m", Step: "\xff"},
		"no UTF-8 in the stack":     &workflow.Error{Message: "m", Stack: "\xed\xa0\x80"},
		"a very long message":       errors.New(strings.Repeat("long ", 1<<20)),
		"a very long code and step": &workflow.Error{Message: "m", Code: workflow.Code(strings.Repeat("c", 1<<20)), Step: strings.Repeat("s", 1<<20)},
	}
	t.Run("UTF8", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		kit.Work(t, b.svc)
		for name, err := range rogue {
			b.countsAttempts(name, err, "")
		}
	})
	for _, database := range []struct {
		encoding string
		access   pgtest.Access
	}{{"WIN1252", pgtest.PQ}, {"WIN1252", pgtest.PGX}, {"LATIN1", pgtest.PQ}, {"SQL_ASCII", pgtest.PGX}} {
		t.Run(database.encoding+" on "+database.access.Name, func(t *testing.T) {
			t.Parallel()
			b := encoded(t, database.access, database.encoding)
			kit.Work(t, b.svc)
			for name, err := range map[string]error{
				"message": &workflow.Error{Code: "kept", Message: "told " + beyond},
				"all":     &workflow.Error{Code: "kept", Message: "told " + beyond, Step: beyond, Stack: beyond},
			} {
				b.countsAttempts(name, err, "told")
			}
		})
	}
}

// countsAttempts checks that each way to fail with an error ends, after as many attempts as are allowed.
func (b *bench) countsAttempts(name string, rogue error, says string) {
	b.t.Helper()
	const attempts = 3
	var calls atomic.Int32
	step := func(context.Context) (int, error) { calls.Add(1); return 0, rogue }
	for kind, c := range map[string]struct {
		fn   func(context.Context, int) (int, error)
		want int32
	}{
		"plain step": {func(ctx context.Context, _ int) (int, error) { return workflow.Do(ctx, "s", step, quickly(attempts)) }, attempts},
		"transactional step": {func(ctx context.Context, _ int) (int, error) {
			return workflow.DoTx(ctx, "s", func(ctx context.Context, _ *sql.Tx) (int, error) { return step(ctx) }, quickly(attempts))
		}, attempts},
		"panic": {func(ctx context.Context, _ int) (int, error) {
			return workflow.Do(ctx, "s", func(context.Context) (int, error) { calls.Add(1); panic(rogue) }, quickly(attempts))
		}, attempts},
		"function": {func(ctx context.Context, _ int) (int, error) { return step(ctx) }, 1},
	} {
		calls.Store(0)
		handle, _, err := run(b, name+", "+kind, c.fn)
		var failed *workflow.Error
		if !errors.As(err, &failed) || !strings.Contains(failed.Message, says) {
			b.t.Errorf("%s, %s: result %.300v, want a failed run", name, kind, err)
			_ = b.svc.Cancel(b.t.Context(), handle.RunID()) // of one that does not end
			continue
		}
		var sent *workflow.Error
		if errors.As(rogue, &sent) && sent.Code == "kept" && kind != "panic" && failed.Code != sent.Code {
			b.t.Errorf("%s, %s: failed with code %q, want %q", name, kind, failed.Code, sent.Code)
		}
		if calls.Load() != c.want {
			b.t.Errorf("%s, %s: called %d times, want %d", name, kind, calls.Load(), c.want)
		}
	}
}

// A value that the database's encoding lacks is refused once, to whom it concerns.
func TestValuesThatTheEncodingLacks(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b := encoded(t, access, "WIN1252")
			kit.Work(t, b.svc)
			var calls atomic.Int32
			for kind, fn := range map[string]func(context.Context, int) (string, error){
				"result": func(ctx context.Context, _ int) (string, error) {
					return workflow.Do(ctx, "s", func(context.Context) (string, error) { calls.Add(1); return beyond, nil }, quickly(3))
				},
				"output": func(context.Context, int) (string, error) { calls.Add(1); return beyond, nil },
				"step": func(ctx context.Context, _ int) (string, error) {
					calls.Add(1)
					return workflow.Do(ctx, beyond, value("x"), quickly(3))
				},
			} {
				calls.Store(0)
				_, got, err := run(b, kind, fn)
				var failed *workflow.RunError
				if !errors.As(err, &failed) && got != beyond && got != "x" { // some drivers send what they are given, which comes back
					t.Errorf("%s: %q, %v; want a failed run", kind, got, err)
				}
				if calls.Load() != 1 {
					t.Errorf("%s: called %d times, want once", kind, calls.Load())
				}
			}
			w := workflow.Define("input", func(_ context.Context, in string) (string, error) { return in, nil })
			b.svc.Register(w)
			if handle, err := w.Start(kit.Within(t, busy), b.svc, beyond); err == nil {
				if got, err := handle.Result(kit.Within(t, busy)); err != nil || got != beyond {
					t.Errorf("a run whose start was acknowledged: %q, %v", got, err)
				}
			} else if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("start: %v, want what the database said", err)
			}
		})
	}
}
