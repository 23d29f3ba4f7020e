package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestCreateRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		before := kit.One[int64](t, b.side, clockMS)
		id, err := b.svc.CreateRun(t.Context(), "order", map[string]any{"article": "Müller ☕", "count": 3})
		kit.Must(t, err)
		after := kit.One[int64](t, b.side, clockMS)

		parsed, err := uuid.Parse(id)
		kit.Must(t, err)
		if parsed.Version() != 7 || parsed.String() != id {
			t.Errorf("id = %q, want a UUIDv7", id)
		}

		got, err := b.svc.GetRun(t.Context(), id)
		kit.Must(t, err)
		if ms := got.CreatedAt.UnixMilli(); ms < before || ms > after {
			t.Errorf("CreatedAt = %d, want between %d and %d by the database's clock", ms, before, after)
		}
		wantJSON(t, "input", got.Input, `{"count": 3, "article": "Müller ☕"}`)
		got.Input = nil
		want := workflow.Run{
			ID: id, Workflow: "order", Status: workflow.RunPending,
			RunAt: got.CreatedAt, CreatedAt: got.CreatedAt, UpdatedAt: got.CreatedAt,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("run (-want +got):\n%s", diff)
		}
	})
}

const clockMS = `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`

func TestCreateRunIDsAreOrderedAndUnique(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		last := ""
		for range 50 {
			id := b.newRun(t)
			if id <= last {
				t.Fatalf("id %s after %s", id, last)
			}
			last = id
		}
	})
}

// Every kind of input comes back as the same JSON, and the falsy ones are inputs like any other.
func TestInputs(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		var nilPointer *int
		for name, test := range map[string]struct {
			input any
			want  string
		}{
			"nil":              {nil, `null`},
			"nil pointer":      {nilPointer, `null`},
			"nil raw":          {json.RawMessage(nil), `null`},
			"raw null":         {json.RawMessage("null"), `null`},
			"false":            {false, `false`},
			"zero":             {0, `0`},
			"empty string":     {"", `""`},
			"empty list":       {[]int{}, `[]`},
			"empty object":     {struct{}{}, `{}`},
			"bytes":            {[]byte("hi"), `"aGk="`},
			"raw with spaces":  {json.RawMessage(" {\"a\" : 1}\n"), `{"a": 1}`},
			"raw duplicates":   {json.RawMessage(`{"b":1,"a":1.0,"a":2}`), `{"a": 2, "b": 1}`},
			"raw exponent":     {json.RawMessage(`1e3`), `1000`},
			"quotes":           {`'";\ $1 $$ ` + "\t", `"'\";\\ $1 $$ \t"`},
			"escapes":          {json.RawMessage(`"\u00e9\ud83d\ude00\\u0000"`), `"é😀\\u0000"`},
			"html":             {"<&>\u2028", `"<&>\u2028"`},
			"beyond BMP":       {"𝔘😀", `"𝔘😀"`},
			"19 digits":        {int64(9007199254740993), `9007199254740993`},
			"braces of arrays": {`{1,2}`, `"{1,2}"`},
			"question marks":   {"? ?| :name @p", `"? ?| :name @p"`},
		} {
			t.Run(name, func(t *testing.T) {
				id, err := b.svc.CreateRun(t.Context(), "w", test.input)
				kit.Must(t, err)
				run, err := b.svc.GetRun(t.Context(), id)
				kit.Must(t, err)
				wantJSON(t, "input", run.Input, test.want)
				if name == "19 digits" && string(run.Input) != test.want { // wantJSON reads floats
					t.Errorf("input = %s, want %s", run.Input, test.want)
				}
			})
		}
	})
}

func TestCreateRunWithID(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		first, err := b.svc.CreateRunWithID(t.Context(), "order-1", "order", json.RawMessage(`{"a": 1.0, "b": [true, null]}`))
		kit.Must(t, err)

		for name, test := range map[string]struct {
			workflow string
			input    any
			want     error
		}{
			"same":              {"order", json.RawMessage(`{"a": 1.0, "b": [true, null]}`), nil},
			"same as JSON":      {"order", json.RawMessage(` {"b":[true,null],"a":1} `), nil},
			"same from a value": {"order", map[string]any{"b": []any{true, nil}, "a": 1}, nil},
			"other workflow":    {"refund", json.RawMessage(`{"a": 1.0, "b": [true, null]}`), workflow.ErrRunConflict},
			"other case":        {"Order", json.RawMessage(`{"a": 1.0, "b": [true, null]}`), workflow.ErrRunConflict},
			"other input":       {"order", json.RawMessage(`{"a": 2, "b": [true, null]}`), workflow.ErrRunConflict},
			"other type":        {"order", json.RawMessage(`{"a": "1", "b": [true, null]}`), workflow.ErrRunConflict},
			"more input":        {"order", json.RawMessage(`{"a": 1, "b": [true, null], "c": null}`), workflow.ErrRunConflict},
			"other order":       {"order", json.RawMessage(`{"a": 1, "b": [null, true]}`), workflow.ErrRunConflict},
			"nil":               {"order", nil, workflow.ErrRunConflict},
		} {
			t.Run(name, func(t *testing.T) {
				got, err := b.svc.CreateRunWithID(t.Context(), "order-1", test.workflow, test.input)
				kit.WantIs(t, err, test.want)
				want := first
				if test.want != nil {
					want = workflow.Run{}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("run (-want +got):\n%s", diff)
				}
			})
		}
		if n := kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_runs`); n != 1 {
			t.Errorf("%d runs, want 1", n)
		}
	})
}

// The run that exists is returned as it stands, whatever became of it.
func TestCreateRunWithIDReturnsFinishedRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		_, err := b.svc.CreateRunWithID(t.Context(), "x", "w", 1)
		kit.Must(t, err)
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), "x", workflow.RunCompleted, "out", nil))
		got, err := b.svc.CreateRunWithID(t.Context(), "x", "w", 1)
		kit.Must(t, err)
		if got.Status != workflow.RunCompleted {
			t.Errorf("status = %s, want completed", got.Status)
		}
		wantJSON(t, "output", got.Output, `"out"`)
	})
}

func TestRacingCreatorsGetOneRun(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		const callers = 24
		for round := range 5 {
			id := fmt.Sprintf("race-%d", round)
			runs := make([]workflow.Run, callers)
			errs := kit.Together(callers, func(i int) (err error) {
				// Every third caller asks for another input; whichever kind comes first wins.
				runs[i], err = b.svc.CreateRunWithID(t.Context(), id, "w", i%3 == 0)
				return err
			})
			stored, err := b.svc.GetRun(t.Context(), id)
			kit.Must(t, err)
			for i, err := range errs {
				if same := fmt.Sprint(i%3 == 0) == string(stored.Input); !same {
					kit.WantIs(t, err, workflow.ErrRunConflict)
					continue
				}
				kit.Must(t, err)
				if diff := cmp.Diff(stored, runs[i]); diff != "" {
					t.Errorf("caller %d's run (-stored +got):\n%s", i, diff)
				}
			}
		}
		if n := kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_runs`); n != 5 {
			t.Errorf("%d runs, want 5", n)
		}
	})
}

// A run that is created and deleted all the time gives a run or a clear error, never another's.
func TestCreateAgainstDelete(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for i, err := range kit.Together(8, func(i int) error {
			for range 20 {
				if i%2 == 0 {
					if err := b.svc.DeleteRun(t.Context(), "x"); err != nil && !errors.Is(err, workflow.ErrRunNotFound) {
						return err
					}
					continue
				}
				run, err := b.svc.CreateRunWithID(t.Context(), "x", "w", 1)
				if err == nil && (run.ID != "x" || run.Workflow != "w" || string(run.Input) != "1") {
					return fmt.Errorf("got %+v", run)
				}
				if err != nil && !strings.Contains(err.Error(), "create and delete") {
					return err
				}
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		}
	})
}

// Ids are the caller's: up to 255 bytes of any text.
func TestNames(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for name, text := range map[string]string{
			"longest":    strings.Repeat("a", 255),
			"multi-byte": strings.Repeat("é", 127),
			"quotes":     `a'b"c\d`,
			"spaces":     " a\tb\n",
			"hash":       "a#b/c",
			"dots":       "1.2.3",
			"percent":    "%s$1?:x",
			"emoji":      "😀",
		} {
			t.Run(name, func(t *testing.T) {
				created, err := b.svc.CreateRunWithID(t.Context(), text, text, name)
				kit.Must(t, err)
				got, err := b.svc.GetRun(t.Context(), text)
				kit.Must(t, err)
				if diff := cmp.Diff(created, got); diff != "" {
					t.Errorf("run (-created +got):\n%s", diff)
				}
				if got.ID != text || got.Workflow != text {
					t.Errorf("id %q, workflow %q, want %q", got.ID, got.Workflow, text)
				}
				if !strings.ContainsAny(text, "#/") {
					kit.Must(t, b.svc.SetStepResult(t.Context(), text, text, 1))
					step, err := b.svc.GetStepState(t.Context(), text, text)
					kit.Must(t, err)
					if step.Name != text || step.RunID != text {
						t.Errorf("step %q of run %q, want %q", step.Name, step.RunID, text)
					}
				}
			})
		}
	})
}

func TestGetRunNotFound(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		got, err := b.svc.GetRun(t.Context(), "nobody")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		if diff := cmp.Diff(workflow.Run{}, got); diff != "" {
			t.Errorf("run (-want +got):\n%s", diff)
		}
		if !strings.Contains(err.Error(), "nobody") {
			t.Errorf("error %q does not name the run", err)
		}
	})
}

// Values are stamped with the time of the write, not of the application's transaction.
func TestOldTransactionDoesNotStampThePast(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		tx := kit.Begin(t, b.db)
		began := kit.One[int64](t, tx, `SELECT floor(extract(epoch FROM now()) * 1000)::bigint`)
		kit.Until(t, "later time", func() bool { return kit.One[int64](t, tx, clockMS) > began+20 })

		run, err := b.svc.In(tx).CreateRunWithID(t.Context(), "x", "w", nil)
		kit.Must(t, err)
		kit.Must(t, b.svc.In(tx).SetStepResult(t.Context(), "x", "s", 1))
		step, err := b.svc.In(tx).GetStepState(t.Context(), "x", "s")
		kit.Must(t, err)
		for name, at := range map[string]time.Time{"CreatedAt": run.CreatedAt, "step's UpdatedAt": step.UpdatedAt} {
			if at.UnixMilli() <= began+20 {
				t.Errorf("%s is %d ms after the transaction began, want more than 20", name, at.UnixMilli()-began)
			}
		}
	})
}

func TestDeleteRunTakesSteps(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id, other := b.newRun(t), b.newRun(t)
		for _, run := range []string{id, other} {
			kit.Must(t, b.svc.SetStepResult(t.Context(), run, "a", 1))
			kit.Must(t, b.svc.SetStepScheduled(t.Context(), run, "b"))
		}
		kit.Must(t, b.svc.DeleteRun(t.Context(), id))

		_, err := b.svc.GetRun(t.Context(), id)
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		_, err = b.svc.GetStepState(t.Context(), id, "a")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		kit.WantIs(t, b.svc.DeleteRun(t.Context(), id), workflow.ErrRunNotFound)
		if n := kit.One[int](t, b.side, `SELECT count(*) FROM workflows.workflow_steps WHERE run_id = $1`, id); n != 0 {
			t.Errorf("%d steps are left", n)
		}
		steps, err := b.svc.ListSteps(t.Context(), other)
		kit.Must(t, err)
		if len(steps) != 2 {
			t.Errorf("the other run has %d steps, want 2", len(steps))
		}
	})
}

func TestDeleteRunInEveryStatus(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for _, status := range runStatuses {
			t.Run(string(status), func(t *testing.T) { kit.Must(t, b.svc.DeleteRun(t.Context(), b.runIn(t, status))) })
		}
		owned := b.ownedRun(t)
		kit.WantIs(t, b.svc.DeleteRun(t.Context(), owned), workflow.ErrRunOwned)
		_, err := b.svc.GetRun(t.Context(), owned)
		kit.Must(t, err)
	})
}
