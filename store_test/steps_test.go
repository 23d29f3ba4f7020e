package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestGetStepStateNeverWritten(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		for _, key := range []string{"s", "s#1", "branch/s"} { // keys that the engine writes can be read
			got, err := b.svc.GetStepState(t.Context(), id, key)
			kit.Must(t, err)
			want := workflow.Step{RunID: id, Name: key, Status: workflow.StepPending}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("step (-want +got):\n%s", diff)
			}
		}
		_, err := b.svc.GetStepState(t.Context(), "nobody", "s")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		_, err = b.svc.ListSteps(t.Context(), "nobody")
		kit.WantIs(t, err, workflow.ErrRunNotFound)
		steps, err := b.svc.ListSteps(t.Context(), id)
		kit.Must(t, err)
		if len(steps) != 0 {
			t.Errorf("steps = %v, want none", steps)
		}
	})
}

// write is one write to a step, as an application makes it.
type write struct {
	name string
	to   func(t *testing.T, state workflow.State, run, step string) error
}

func scheduled() write {
	return write{"scheduled", func(t *testing.T, state workflow.State, run, step string) error {
		return state.SetStepScheduled(t.Context(), run, step)
	}}
}

func succeeds(with any) write {
	return write{fmt.Sprintf("result %v", with), func(t *testing.T, state workflow.State, run, step string) error {
		return state.SetStepResult(t.Context(), run, step, with)
	}}
}

func fails(message string) write {
	return write{"error " + message, func(t *testing.T, state workflow.State, run, step string) error {
		return state.SetStepError(t.Context(), run, step, errors.New(message))
	}}
}

// What a step is after two writes, whatever they are.
func TestStepWrites(t *testing.T) {
	type state struct {
		Status workflow.StepStatus
		Result string // "" is none
		Err    string // "" is none
	}
	var (
		isScheduled = state{Status: workflow.StepScheduled}
		isOne       = state{Status: workflow.StepSucceeded, Result: "1"}
		isFailed    = state{Status: workflow.StepFailed, Err: "boom"}
	)
	tests := []struct {
		first, second write
		err           error // of the second
		want          state
	}{
		{scheduled(), scheduled(), nil, isScheduled},
		{scheduled(), succeeds(1), nil, isOne},
		{scheduled(), fails("boom"), nil, isFailed},
		{fails("boom"), scheduled(), nil, isScheduled},
		{fails("boom"), succeeds(1), nil, isOne},
		{fails("boom"), fails("boom"), nil, isFailed},
		{fails("bang"), fails("boom"), nil, isFailed},
		{succeeds(1), succeeds(1), nil, isOne},
		{succeeds(1), succeeds(json.RawMessage("1.0")), nil, isOne},
		{succeeds(1), succeeds(2), workflow.ErrStepFinished, isOne},
		{succeeds(1), succeeds("1"), workflow.ErrStepFinished, isOne},
		{succeeds(1), succeeds(nil), workflow.ErrStepFinished, isOne},
		{succeeds(1), scheduled(), workflow.ErrStepFinished, isOne},
		{succeeds(1), fails("boom"), workflow.ErrStepFinished, isOne},
		{succeeds(nil), succeeds(nil), nil, state{Status: workflow.StepSucceeded, Result: "null"}},
		{succeeds(nil), succeeds(0), workflow.ErrStepFinished, state{Status: workflow.StepSucceeded, Result: "null"}},
		{succeeds(false), succeeds(nil), workflow.ErrStepFinished, state{Status: workflow.StepSucceeded, Result: "false"}},
		{succeeds(0), fails("boom"), workflow.ErrStepFinished, state{Status: workflow.StepSucceeded, Result: "0"}},
		{succeeds(""), succeeds(""), nil, state{Status: workflow.StepSucceeded, Result: `""`}},
	}
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for _, test := range tests {
			t.Run(test.first.name+", "+test.second.name, func(t *testing.T) {
				id := b.newRun(t)
				kit.Must(t, test.first.to(t, b.svc.State, id, "s"))
				kit.WantIs(t, test.second.to(t, b.svc.State, id, "s"), test.err)

				step, err := b.svc.GetStepState(t.Context(), id, "s")
				kit.Must(t, err)
				got := state{Status: step.Status, Result: string(step.Result)}
				if step.Err != nil {
					got.Err = step.Err.Error()
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("step (-want +got):\n%s", diff)
				}
				if step.UpdatedAt.IsZero() || step.RunID != id || step.Name != "s" {
					t.Errorf("step = %+v", step)
				}
			})
		}
	})
}

// Steps are written while the run is pending, running by hand or suspended, and refused otherwise.
func TestStepWritesByRunStatus(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for _, w := range []write{scheduled(), succeeds(1), fails("boom")} {
			for _, status := range runStatuses {
				t.Run(w.name+", "+string(status), func(t *testing.T) {
					var want error
					if status.Finished() {
						want = workflow.ErrRunFinished
					}
					id := b.runIn(t, status)
					kit.WantIs(t, w.to(t, b.svc.State, id, "s"), want)
					if got, want := b.hasStep(t, id), want == nil; got != want {
						t.Errorf("step written = %t, want %t", got, want)
					}
				})
			}
			t.Run(w.name+", owned", func(t *testing.T) {
				id := b.ownedRun(t)
				kit.WantIs(t, w.to(t, b.svc.State, id, "s"), workflow.ErrRunOwned)
				if b.hasStep(t, id) {
					t.Error("the step was written")
				}
			})
			t.Run(w.name+", unknown", func(t *testing.T) {
				kit.WantIs(t, w.to(t, b.svc.State, "nobody", "s"), workflow.ErrRunNotFound)
				if b.hasStep(t, "nobody") {
					t.Error("the step was written")
				}
			})
		}
	})
}

// hasStep reports whether the run has a step "s".
func (b *bundle) hasStep(t *testing.T, id string) bool {
	t.Helper()
	return kit.One[bool](t, b.side,
		`SELECT EXISTS (SELECT FROM workflows.workflow_steps WHERE run_id = $1 AND step_name = 's')`, id)
}

// A run that finished keeps its steps as they were, also against writes that would change nothing.
func TestFinishedRunKeepsSteps(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		kit.Must(t, b.svc.SetStepError(t.Context(), id, "s", errors.New("boom")))
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunFailed, nil, errors.New("boom")))
		kit.WantIs(t, b.svc.SetStepResult(t.Context(), id, "s", 1), workflow.ErrRunFinished)
		step, err := b.svc.GetStepState(t.Context(), id, "s")
		kit.Must(t, err)
		if step.Status != workflow.StepFailed {
			t.Errorf("status = %s, want failed", step.Status)
		}
	})
}

func TestErrorsComeBack(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for name, test := range map[string]struct {
			err  error
			want *workflow.Error
		}{
			"plain":       {errors.New("boom"), &workflow.Error{Message: "boom"}},
			"coded":       {&workflow.Error{Code: "card_declined", Message: "no"}, &workflow.Error{Code: "card_declined", Message: "no"}},
			"wrapped":     {fmt.Errorf("charge: %w", &workflow.Error{Code: "c", Message: "no", Stack: "main.go:1"}), &workflow.Error{Code: "c", Message: "charge: no", Stack: "main.go:1"}},
			"joined":      {errors.Join(errors.New("a"), &workflow.Error{Code: "c", Message: "b"}), &workflow.Error{Code: "c", Message: "a\nb"}},
			"not ASCII":   {errors.New("Müller ☕ \"'\\ <&>"), &workflow.Error{Message: "Müller ☕ \"'\\ <&>"}},
			"NUL":         {errors.New("a\x00b"), &workflow.Error{Message: "a\uFFFDb"}},
			"not UTF-8":   {errors.New("a\xffb"), &workflow.Error{Message: "a\uFFFDb"}},
			"like JSON":   {errors.New(`{"code":"x"}`), &workflow.Error{Message: `{"code":"x"}`}},
			"code alone":  {&workflow.Error{Code: "card_declined"}, &workflow.Error{Code: "card_declined"}},
			"no message":  {errors.New(""), &workflow.Error{}},
			"code as NUL": {&workflow.Error{Code: "a\x00", Message: "m"}, &workflow.Error{Code: "a\uFFFD", Message: "m"}},
		} {
			t.Run(name, func(t *testing.T) {
				id := b.newRun(t)
				kit.Must(t, b.svc.SetStepError(t.Context(), id, "s", test.err))
				step, err := b.svc.GetStepState(t.Context(), id, "s")
				kit.Must(t, err)
				wantError(t, "step", step.Err, test.want)
				steps, err := b.svc.ListSteps(t.Context(), id)
				kit.Must(t, err)
				wantError(t, "listed step", steps[0].Err, test.want)

				kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunFailed, nil, test.err))
				run, err := b.svc.GetRun(t.Context(), id)
				kit.Must(t, err)
				wantError(t, "run", run.Err, test.want)
				kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunFailed, nil, test.err)) // equal to itself
			})
		}
	})
}

func wantError(t *testing.T, of string, got error, want *workflow.Error) {
	t.Helper()
	if diff := cmp.Diff(error(want), got); diff != "" {
		t.Errorf("error of the %s (-want +got):\n%s", of, diff)
	}
	if want.Code != "" && !errors.Is(got, &workflow.Error{Code: want.Code}) {
		t.Errorf("error of the %s does not match on code %q", of, want.Code)
	}
}

// The stored form is a document that others read: {message, code, stack}.
func TestErrorDocument(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		kit.Must(t, b.svc.SetStepError(t.Context(), id, "s", &workflow.Error{Message: "m", Code: "c", Stack: "at x"}))
		got := kit.One[string](t, b.side, `SELECT error FROM workflows.workflow_steps WHERE run_id = $1`, id)
		wantJSON(t, "error", json.RawMessage(got), `{"message": "m", "code": "c", "stack": "at x"}`)
	})
}

// An error is cut rather than refused, within what the column can hold, and equal to itself after that.
func TestLongErrors(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		long := &workflow.Error{
			Message: strings.Repeat("é", 1<<20), Code: workflow.Code(strings.Repeat("☕", 1000)), Stack: strings.Repeat("s", 1<<20),
		}
		kit.Must(t, b.svc.SetStepError(t.Context(), id, "s", long))
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunFailed, nil, long))
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunFailed, nil, long))
		run, err := b.svc.GetRun(t.Context(), id)
		kit.Must(t, err)
		var got *workflow.Error
		if !errors.As(run.Err, &got) || len(got.Message) == 0 || len(got.Message) > 64<<10 || len(got.Stack) > 64<<10 {
			t.Errorf("error of %d bytes", len(run.Err.Error()))
		}
	})
}

func TestListSteps(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		kit.Must(t, b.svc.SetStepResult(t.Context(), id, "b", []int{1}))
		kit.Must(t, b.svc.SetStepScheduled(t.Context(), id, "a"))
		kit.Exec(t, b.side, `UPDATE workflows.workflow_steps SET updated_at = updated_at - 1000 WHERE step_name = 'b'`)
		kit.Must(t, b.svc.SetStepError(t.Context(), b.newRun(t), "of another run", errors.New("x")))

		steps, err := b.svc.ListSteps(t.Context(), id)
		kit.Must(t, err)
		var got []string
		for _, s := range steps {
			got = append(got, fmt.Sprintf("%s %s %s", s.Name, s.Status, s.Result))
			same, err := b.svc.GetStepState(t.Context(), id, s.Name)
			kit.Must(t, err)
			if diff := cmp.Diff(same, s); diff != "" {
				t.Errorf("listed step differs from the one got (-got +listed):\n%s", diff)
			}
		}
		if diff := cmp.Diff([]string{"b succeeded [1]", "a scheduled "}, got); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}

// Steps are listed in the order in which the run reached them, whenever they ended; before those of the state API.
func TestListStepsInOrderOfReach(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		kit.Exec(t, b.side, `INSERT INTO workflows.workflow_steps (run_id, step_name, status, result, updated_at, seq)
			SELECT $1, name, 'succeeded', '1', at, seq
			FROM (VALUES ('x', 1, NULL), ('second', 3, 2), ('tenth', 2, 10), ('first', 9, 1), ('w', 0, NULL)) AS step (name, at, seq)`, id)
		steps, err := b.svc.ListSteps(t.Context(), id)
		kit.Must(t, err)
		var got []string
		for _, s := range steps {
			got = append(got, s.Name)
		}
		if diff := cmp.Diff([]string{"first", "second", "tenth", "w", "x"}, got); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}

// Of callers that race with different results exactly one wins, and every reader sees its result.
func TestRacingResults(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for range 5 {
			id := b.newRun(t)
			errs := kit.Together(16, func(i int) error { return b.svc.SetStepResult(t.Context(), id, "s", i/2) })
			step, err := b.svc.GetStepState(t.Context(), id, "s")
			kit.Must(t, err)
			var won int
			kit.Must(t, step.DecodeResult(&won))
			for i, err := range errs {
				if i/2 == won {
					kit.Must(t, err)
				} else {
					kit.WantIs(t, err, workflow.ErrStepFinished)
				}
			}
		}
	})
}
