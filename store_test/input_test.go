package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/counting"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// counted returns a service on a pool whose statements are counted.
func counted(t *testing.T, access pgtest.Access, changes ...func(*workflow.Config)) (*bundle, *counting.Counter) {
	t.Helper()
	return countedOn(t, pgtest.New(t), access, changes...)
}

// countedOn is counted on a database that exists.
func countedOn(
	t *testing.T, database *pgtest.Database, access pgtest.Access, changes ...func(*workflow.Config),
) (*bundle, *counting.Counter) {
	t.Helper()
	b := &bundle{Database: database, access: access}
	b.side = b.Open(t, pgtest.PQ)
	db, counter, err := counting.Open(access.Driver, b.AccessURL(t, access))
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	b.db = db
	b.svc, b.calm = b.service(t, db, changes...), b.service(t, b.side)
	return b, counter
}

// calls are all calls of the state API that take an id or a name, given both.
var calls = map[string]func(ctx context.Context, s workflow.State, run, step string) error{
	"CreateRunWithID": func(ctx context.Context, s workflow.State, run, _ string) error {
		_, err := s.CreateRunWithID(ctx, run, "w", 1)
		return err
	},
	"GetRun": func(ctx context.Context, s workflow.State, run, _ string) error {
		_, err := s.GetRun(ctx, run)
		return err
	},
	"UpdateRunStatus": func(ctx context.Context, s workflow.State, run, _ string) error {
		return s.UpdateRunStatus(ctx, run, workflow.RunRunning, nil, nil)
	},
	"DeleteRun": func(ctx context.Context, s workflow.State, run, _ string) error { return s.DeleteRun(ctx, run) },
	"Cancel":    func(ctx context.Context, s workflow.State, run, _ string) error { return s.Cancel(ctx, run) },
	"Resume":    func(ctx context.Context, s workflow.State, run, _ string) error { return s.Resume(ctx, run) },
	"ListSteps": func(ctx context.Context, s workflow.State, run, _ string) error {
		_, err := s.ListSteps(ctx, run)
		return err
	},
	"GetStepState": func(ctx context.Context, s workflow.State, run, step string) error {
		_, err := s.GetStepState(ctx, run, step)
		return err
	},
	"SetStepScheduled": func(ctx context.Context, s workflow.State, run, step string) error {
		return s.SetStepScheduled(ctx, run, step)
	},
	"SetStepResult": func(ctx context.Context, s workflow.State, run, step string) error {
		return s.SetStepResult(ctx, run, step, 1)
	},
	"SetStepError": func(ctx context.Context, s workflow.State, run, step string) error {
		return s.SetStepError(ctx, run, step, errOfFn)
	},
	"WithRunLock": func(ctx context.Context, s workflow.State, run, _ string) error {
		return s.WithRunLock(ctx, run, func(context.Context, *sql.Tx, workflow.State) error { return errors.New("fn was called") })
	},
	"Send": func(ctx context.Context, s workflow.State, run, _ string) error {
		return workflow.DefineSignal[int]("s").Send(ctx, s, run, 1)
	},
	"ListSignals": func(ctx context.Context, s workflow.State, run, _ string) error {
		_, err := s.ListSignals(ctx, run)
		return err
	},
	"ListApprovals": func(ctx context.Context, s workflow.State, _, _ string) error {
		_, err := s.ListApprovals(ctx, workflow.ApprovalFilter{})
		return err
	},
	"CreateRun": func(ctx context.Context, s workflow.State, _, _ string) error {
		_, err := s.CreateRun(ctx, "w", 1)
		return err
	},
	"ListRuns": func(ctx context.Context, s workflow.State, _, _ string) error {
		_, err := s.ListRuns(ctx, workflow.RunFilter{})
		return err
	},
}

var badTexts = map[string]string{
	"empty":          "",
	"NUL":            "a\x00b",
	"not UTF-8":      "a\xff",
	"half a rune":    "é"[:1],
	"surrogate":      "\xed\xa0\x80",
	"over-long form": "\xc0\x80",
}

// Bad input is refused with the reason, and nothing reaches the server.
func TestBadInput(t *testing.T) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b, counter := counted(t, access)
			tx := kit.Begin(t, b.db)
			refused := func(t *testing.T, want error, call func(s workflow.State) error) {
				t.Helper()
				for name, state := range map[string]workflow.State{"alone": b.svc.State, "in a transaction": b.svc.In(tx)} {
					counter.Take()
					err := call(state)
					kit.WantIs(t, err, want)
					if err != nil && !strings.HasPrefix(err.Error(), "workflow: ") {
						t.Errorf("%s: error %q does not say where it comes from", name, err)
					}
					if counts, texts := counter.TakeTexts(); counts != (counting.Counts{}) {
						t.Errorf("%s: reached the server: %+v %q", name, counts, texts)
					}
				}
			}
			b.badNames(t, refused)
			b.badPayloads(t, refused)
			b.badArguments(t, refused)
			kit.Must(t, tx.Commit())
		})
	}
}

type refusal = func(t *testing.T, want error, call func(s workflow.State) error)

func (b *bundle) badNames(t *testing.T, refused refusal) {
	texts := map[string]string{"over 255 bytes": strings.Repeat("é", 128)}
	for name, text := range badTexts {
		texts[name] = text
	}
	for name, text := range texts {
		for call, f := range calls {
			if call == "CreateRun" || call == "ListRuns" || call == "ListApprovals" {
				continue
			}
			t.Run("run id, "+name+", "+call, func(t *testing.T) {
				refused(t, workflow.ErrInvalidArgument, func(s workflow.State) error { return f(t.Context(), s, text, "s") })
			})
		}
		t.Run("workflow name, "+name, func(t *testing.T) {
			refused(t, workflow.ErrInvalidArgument, func(s workflow.State) error {
				_, err := s.CreateRun(t.Context(), text, 1)
				return err
			})
			refused(t, workflow.ErrInvalidArgument, func(s workflow.State) error {
				_, err := s.CreateRunWithID(t.Context(), "x", text, 1)
				return err
			})
			if text != "" {
				refused(t, workflow.ErrInvalidArgument, func(s workflow.State) error {
					_, err := s.ListRuns(t.Context(), workflow.RunFilter{Workflow: text})
					return err
				})
			}
		})
	}

	texts = map[string]string{"over 1,024 bytes": strings.Repeat("é", 513), "hash": "a#1", "slash": "a/b", "only a hash": "#"}
	for name, text := range badTexts {
		texts[name] = text
	}
	for name, text := range texts {
		for _, call := range []string{"GetStepState", "SetStepScheduled", "SetStepResult", "SetStepError"} {
			if call != "SetStepScheduled" && len(text) < 10 && strings.ContainsAny(text, "#/") {
				continue // the engine's keys can be read, and its steps completed: see TestStepsCompletedFromOutside
			}
			t.Run("step name, "+name+", "+call, func(t *testing.T) {
				refused(t, workflow.ErrInvalidArgument, func(s workflow.State) error { return calls[call](t.Context(), s, "x", text) })
			})
		}
	}
}

type brokenMarshaler struct{}

func (brokenMarshaler) MarshalJSON() ([]byte, error) { return nil, errors.New("no JSON today") }

func (b *bundle) badPayloads(t *testing.T, refused refusal) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	limit := 1 << 20
	for name, test := range map[string]struct {
		value any
		want  error
	}{
		"channel":                 {make(chan int), workflow.ErrInvalidArgument},
		"function":                {func() {}, workflow.ErrInvalidArgument},
		"NaN":                     {math.NaN(), workflow.ErrInvalidArgument},
		"infinity":                {math.Inf(1), workflow.ErrInvalidArgument},
		"cycle":                   {cycle, workflow.ErrInvalidArgument},
		"marshaler that fails":    {brokenMarshaler{}, workflow.ErrInvalidArgument},
		"NUL in a string":         {"a\x00b", workflow.ErrInvalidArgument},
		"NUL in a key":            {map[string]int{"a\x00": 1}, workflow.ErrInvalidArgument},
		"raw, empty":              {json.RawMessage{}, workflow.ErrInvalidArgument},
		"raw, not JSON":           {json.RawMessage(`{a: 1}`), workflow.ErrInvalidArgument},
		"raw, two values":         {json.RawMessage(`1 2`), workflow.ErrInvalidArgument},
		"raw, cut off":            {json.RawMessage(`{"a": "b`), workflow.ErrInvalidArgument},
		"raw, spaces only":        {json.RawMessage(" "), workflow.ErrInvalidArgument},
		"raw, byte-order mark":    {json.RawMessage("\ufeff1"), workflow.ErrInvalidArgument},
		"raw, not UTF-8":          {json.RawMessage("\"a\xff\""), workflow.ErrInvalidArgument},
		"raw, surrogate's bytes":  {json.RawMessage("\"\xed\xa0\x80\""), workflow.ErrInvalidArgument},
		"raw, NUL":                {json.RawMessage("\"a\x00\""), workflow.ErrInvalidArgument},
		"raw, escaped NUL":        {json.RawMessage(`"a\u0000"`), workflow.ErrInvalidArgument},
		"raw, NUL in a key":       {json.RawMessage(`[{"\u0000": 1}]`), workflow.ErrInvalidArgument},
		"raw, high half":          {json.RawMessage(`"\ud800"`), workflow.ErrInvalidArgument},
		"raw, high half, text":    {json.RawMessage(`"\ud800abcdefgh"`), workflow.ErrInvalidArgument},
		"raw, two high halves":    {json.RawMessage(`"\ud800\ud800"`), workflow.ErrInvalidArgument},
		"raw, low half":           {json.RawMessage(`"\udc00"`), workflow.ErrInvalidArgument},
		"raw, halves swapped":     {json.RawMessage(`"\ude00\ud83d"`), workflow.ErrInvalidArgument},
		"raw, half and backslash": {json.RawMessage(`"\ud83d\\ude00"`), workflow.ErrInvalidArgument},
		"raw, large number":       {json.RawMessage(`1e131072`), workflow.ErrInvalidArgument},
		"raw, small number":       {json.RawMessage(`1e-20000`), workflow.ErrInvalidArgument},
		"raw, many digits":        {json.RawMessage(strings.Repeat("9", 131073)), workflow.ErrInvalidArgument},
		"raw, many decimals":      {json.RawMessage("0." + strings.Repeat("0", 16383) + "1"), workflow.ErrInvalidArgument},
		"raw, huge exponent":      {json.RawMessage(`1e99999999999999999999`), workflow.ErrInvalidArgument},
		"raw, tiny exponent":      {json.RawMessage(`[1, 1e-99999999999999999999]`), workflow.ErrInvalidArgument},
		"raw, nested lists":       {json.RawMessage(strings.Repeat("[", 1001) + strings.Repeat("]", 1001)), workflow.ErrInvalidArgument},
		"raw, nested objects":     {json.RawMessage(strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001)), workflow.ErrInvalidArgument},
		"one byte too long":       {strings.Repeat("x", limit-1), workflow.ErrPayloadTooLarge},
		"raw, one byte too long":  {json.RawMessage(strings.Repeat(" ", limit) + "1"), workflow.ErrPayloadTooLarge},
		"raw, too long, not JSON": {json.RawMessage(strings.Repeat("x", limit+1)), workflow.ErrPayloadTooLarge},
	} {
		for call, f := range map[string]func(s workflow.State) error{
			"CreateRun": func(s workflow.State) error { _, err := s.CreateRun(t.Context(), "w", test.value); return err },
			"CreateRunWithID": func(s workflow.State) error {
				_, err := s.CreateRunWithID(t.Context(), "x", "w", test.value)
				return err
			},
			"SetStepResult": func(s workflow.State) error { return s.SetStepResult(t.Context(), "x", "s", test.value) },
			"UpdateRunStatus": func(s workflow.State) error {
				return s.UpdateRunStatus(t.Context(), "x", workflow.RunCompleted, test.value, nil)
			},
		} {
			t.Run("payload, "+name+", "+call, func(t *testing.T) { refused(t, test.want, f) })
		}
	}
}

func (b *bundle) badArguments(t *testing.T, refused refusal) {
	list := func(filter workflow.RunFilter) func(workflow.State) error {
		return func(s workflow.State) error { _, err := s.ListRuns(t.Context(), filter); return err }
	}
	for name, call := range map[string]func(workflow.State) error{
		"status":            func(s workflow.State) error { return s.UpdateRunStatus(t.Context(), "x", "done", nil, nil) },
		"status, empty":     func(s workflow.State) error { return s.UpdateRunStatus(t.Context(), "x", "", nil, nil) },
		"status, case":      func(s workflow.State) error { return s.UpdateRunStatus(t.Context(), "x", "Completed", nil, nil) },
		"no step error":     func(s workflow.State) error { return s.SetStepError(t.Context(), "x", "s", nil) },
		"filter's status":   list(workflow.RunFilter{Statuses: []workflow.RunStatus{"succeeded"}}),
		"limit, negative":   list(workflow.RunFilter{Limit: -1}),
		"limit, too high":   list(workflow.RunFilter{Limit: 1001}),
		"cursor, garbage":   list(workflow.RunFilter{Cursor: "garbage"}),
		"cursor, no number": list(workflow.RunFilter{Cursor: "x.y"}),
		"cursor, NUL":       list(workflow.RunFilter{Cursor: "1.\x00"}),
		"cursor, not UTF-8": list(workflow.RunFilter{Cursor: "1.\xff"}),
		"cursor, too long":  list(workflow.RunFilter{Cursor: "1." + strings.Repeat("x", 10_000)}),
		"cursor, overflow":  list(workflow.RunFilter{Cursor: "99999999999999999999.x"}),
	} {
		t.Run(name, func(t *testing.T) { refused(t, workflow.ErrInvalidArgument, call) })
	}
}

// A context that has ended, or a service that was closed, is found before anything is sent.
func TestEndedContextAndClosedService(t *testing.T) {
	t.Parallel()
	cause := errors.New("the caller's reason")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	reasoned, cancelWith := context.WithCancelCause(t.Context())
	cancelWith(cause)

	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b, counter := counted(t, access)
			tx := kit.Begin(t, b.db)
			id := b.newRun(t)
			check := func(t *testing.T, ctx context.Context, want error) {
				t.Helper()
				for name, call := range calls {
					for where, state := range map[string]workflow.State{"alone": b.svc.State, "in a transaction": b.svc.In(tx)} {
						t.Run(name+", "+where, func(t *testing.T) {
							counter.Take()
							kit.WantIs(t, call(ctx, state, id, "s"), want)
							if counts, texts := counter.TakeTexts(); counts != (counting.Counts{}) {
								t.Errorf("reached the server: %+v %q", counts, texts)
							}
						})
					}
				}
				kit.WantIs(t, b.svc.Init(ctx), want)
			}
			t.Run("canceled", func(t *testing.T) { check(t, canceled, context.Canceled) })
			t.Run("expired", func(t *testing.T) { check(t, expired, context.DeadlineExceeded) })
			t.Run("canceled for a reason", func(t *testing.T) { check(t, reasoned, cause) })
			t.Run("canceled for a reason, by Go's custom", func(t *testing.T) { check(t, reasoned, context.Canceled) })

			kit.Must(t, b.svc.Close())
			kit.Must(t, b.svc.Close())
			t.Run("closed", func(t *testing.T) { check(t, t.Context(), workflow.ErrClosed) })

			// None of these calls harmed anything.
			kit.Must(t, tx.Commit())
			run, err := b.service(t, b.db).GetRun(t.Context(), id)
			kit.Must(t, err)
			if run.Status != workflow.RunPending {
				t.Errorf("status = %s, want pending", run.Status)
			}
		})
	}
}

// What just fits is taken, also by the server.
func TestLimitsAreInclusive(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		limit := 1 << 20
		id, err := b.svc.CreateRun(t.Context(), strings.Repeat("w", 255), strings.Repeat("x", limit-2))
		kit.Must(t, err)
		run, err := b.svc.GetRun(t.Context(), id)
		kit.Must(t, err)
		if len(run.Input) != limit {
			t.Errorf("input has %d bytes, want %d", len(run.Input), limit)
		}
		key := strings.Repeat("s", 1024)
		for _, text := range []string{
			strings.Repeat("9", 131072), "-" + strings.Repeat("9", 131072), "1e131071", "0." + strings.Repeat("0", 16382) + "1", "1e-16383",
			strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		} {
			id := b.newRun(t)
			kit.Must(t, b.svc.SetStepResult(t.Context(), id, key, json.RawMessage(text)))
			step, err := b.svc.GetStepState(t.Context(), id, key)
			kit.Must(t, err)
			if same := kit.One[bool](t, b.side, `SELECT $1::jsonb = $2::jsonb`, text, string(step.Result)); !same {
				t.Errorf("%.50s… came back as %.50s…", text, step.Result)
			}
		}
	})
}

func TestPayloadLimit(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access, func(c *workflow.Config) { c.PayloadLimit = 10 })
		for text, want := range map[string]error{`"12345678"`: nil, `"123456789"`: workflow.ErrPayloadTooLarge} {
			_, err := b.svc.CreateRun(t.Context(), "w", json.RawMessage(text))
			kit.WantIs(t, err, want)
			id, err := b.svc.CreateRun(t.Context(), "w", 1)
			kit.Must(t, err)
			kit.WantIs(t, b.svc.SetStepResult(t.Context(), id, "s", json.RawMessage(text)), want)
			kit.WantIs(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, json.RawMessage(text), nil), want)
		}
		// An error is cut, not refused: its limits are its own.
		kit.Must(t, b.svc.SetStepError(t.Context(), b.newRun(t), "s", errors.New("longer than ten bytes")))
	})
}

// The payload that a call is given stays the caller's.
func TestPayloadsAreNotKept(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		raw := json.RawMessage(`"first"`)
		id, err := b.svc.CreateRun(t.Context(), "w", raw)
		kit.Must(t, err)
		first, err := b.svc.GetRun(t.Context(), id)
		kit.Must(t, err)
		copy(raw, `"other"`)
		for range 10 { // what the driver lends must have been copied
			_, err := b.svc.CreateRun(t.Context(), "w", "something else that is longer")
			kit.Must(t, err)
			_, err = b.svc.ListRuns(t.Context(), workflow.RunFilter{})
			kit.Must(t, err)
		}
		if diff := cmp.Diff(`"first"`, string(first.Input)); diff != "" {
			t.Errorf("input (-want +got):\n%s", diff)
		}
	})
}
