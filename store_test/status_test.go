package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

var runStatuses = []workflow.RunStatus{
	workflow.RunPending, workflow.RunRunning, workflow.RunSuspended,
	workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled,
}

// byHand is what a caller of the state API may do to a run without an owner.
var byHand = map[workflow.RunStatus][]workflow.RunStatus{
	workflow.RunPending:   {workflow.RunRunning, workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled},
	workflow.RunRunning:   {workflow.RunSuspended, workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled},
	workflow.RunSuspended: {workflow.RunRunning, workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled},
	workflow.RunCompleted: {},
	workflow.RunFailed:    {},
	workflow.RunCancelled: {},
}

func TestTransitions(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for _, from := range runStatuses {
			allowed := make(map[workflow.RunStatus]bool)
			for _, to := range byHand[from] {
				allowed[to] = true
			}
			for _, to := range runStatuses {
				t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
					id := b.runIn(t, from)
					// An output tells the same status apart from the status again.
					err := b.svc.UpdateRunStatus(t.Context(), id, to, "new", nil)
					run, getErr := b.svc.GetRun(t.Context(), id)
					kit.Must(t, getErr)
					if allowed[to] {
						kit.Must(t, err)
						wantJSON(t, "output", run.Output, `"new"`)
						if run.Status != to {
							t.Errorf("status = %s, want %s", run.Status, to)
						}
						if !run.RunAt.IsZero() {
							t.Error("a worker could claim the run")
						}
						return
					}
					var got *workflow.TransitionError
					if !errors.As(err, &got) {
						t.Fatalf("error = %v, want a *TransitionError", err)
					}
					if diff := cmp.Diff(&workflow.TransitionError{RunID: id, From: from, To: to}, got); diff != "" {
						t.Errorf("error (-want +got):\n%s", diff)
					}
					wantJSON(t, "output", run.Output, "")
					if run.Status != from {
						t.Errorf("status = %s, want %s", run.Status, from)
					}
				})
			}
			t.Run(fmt.Sprintf("%s to an unknown status", from), func(t *testing.T) {
				id := b.runIn(t, from)
				kit.WantIs(t, b.svc.UpdateRunStatus(t.Context(), id, "paused", nil, nil), workflow.ErrInvalidArgument)
			})
		}
	})
}

// The same status with equal output and error is success, and changes nothing.
func TestSameStatusAgain(t *testing.T) {
	boom := &workflow.Error{Message: "boom", Code: "c"}
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for _, status := range runStatuses {
			for name, test := range map[string]struct {
				output any
				err    error
			}{
				"nothing": {}, "output": {map[string]int{"a": 1, "b": 2}, nil}, "error": {nil, boom},
				"both": {0, boom}, "null": {json.RawMessage("null"), nil},
			} {
				t.Run(string(status)+" with "+name, func(t *testing.T) {
					id := b.newRun(t)
					if status == workflow.RunPending {
						kit.Exec(t, b.side, `DELETE FROM workflows.workflow_runs WHERE id = $1`, id)
						b.pendingWith(t, id, test.output, test.err)
					} else {
						if status == workflow.RunSuspended {
							kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunRunning, nil, nil))
						}
						kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, status, test.output, test.err))
					}
					before, err := b.svc.GetRun(t.Context(), id)
					kit.Must(t, err)

					kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, status, test.output, test.err))
					for name, other := range map[string]struct {
						output any
						err    error
					}{
						"other output": {"other", test.err}, "other error": {test.output, errors.New("other")},
						"other code": {test.output, &workflow.Error{Message: "boom", Code: "d"}},
					} {
						var got *workflow.TransitionError
						if err := b.svc.UpdateRunStatus(t.Context(), id, status, other.output, other.err); !errors.As(err, &got) {
							t.Errorf("%s: error = %v, want a *TransitionError", name, err)
						}
					}
					after, err := b.svc.GetRun(t.Context(), id)
					kit.Must(t, err)
					if diff := cmp.Diff(before, after); diff != "" {
						t.Errorf("run (-before +after):\n%s", diff)
					}
				})
			}
		}
	})
}

// pendingWith writes a pending run that has an output, which no call makes.
func (b *bundle) pendingWith(t *testing.T, id string, output any, failure error) {
	t.Helper()
	column := func(v any) any {
		if v == nil {
			return nil
		}
		text, err := json.Marshal(v)
		kit.Must(t, err)
		return string(text)
	}
	var stored any
	if failure != nil {
		stored = failure
	}
	kit.Exec(t, b.side, `INSERT INTO workflows.workflow_runs (id, workflow, status, input, output, error, created_at, updated_at)
		VALUES ($1, 'w', 'pending', '1', $2::jsonb, $3::jsonb, 1, 1)`, id, column(output), column(stored))
}

// Falsy outputs are outputs. Only nil is none, and json's null is not nil.
func TestOutputs(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		var nilPointer *int
		for name, test := range map[string]struct {
			output any
			want   string // "" is SQL NULL
		}{
			"nil":           {nil, ""},
			"nil raw":       {json.RawMessage(nil), ""},
			"raw null":      {json.RawMessage("null"), "null"},
			"nil pointer":   {nilPointer, "null"},
			"zero":          {0, "0"},
			"false":         {false, "false"},
			"empty string":  {"", `""`},
			"empty list":    {[]string{}, "[]"},
			"empty object":  {map[string]int{}, "{}"},
			"something":     {map[string]any{"a": []any{1.5, nil}}, `{"a": [1.5, null]}`},
			"negative zero": {json.RawMessage("-0"), "0"},
		} {
			t.Run(name, func(t *testing.T) {
				id := b.newRun(t)
				kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, test.output, nil))
				run, err := b.svc.GetRun(t.Context(), id)
				kit.Must(t, err)
				wantJSON(t, "output", run.Output, test.want)
				isNull := kit.One[bool](t, b.side, `SELECT output IS NULL FROM workflows.workflow_runs WHERE id = $1`, id)
				if isNull != (test.want == "") || (run.Output == nil) != isNull {
					t.Errorf("output is SQL NULL: %t, nil: %t, want %t", isNull, run.Output == nil, test.want == "")
				}
				if run.Err != nil {
					t.Errorf("error = %v, want nil", run.Err)
				}
				kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, test.output, nil))
			})
		}
	})
}

// Output and error replace what was recorded by the status before.
func TestOutputAndErrorAreReplaced(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.newRun(t)
		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunRunning, "half", errors.New("warned")))
		run, err := b.svc.GetRun(t.Context(), id)
		kit.Must(t, err)
		wantJSON(t, "output", run.Output, `"half"`)
		wantError(t, "run", run.Err, &workflow.Error{Message: "warned"})

		kit.Must(t, b.svc.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, nil, nil))
		run, err = b.svc.GetRun(t.Context(), id)
		kit.Must(t, err)
		wantJSON(t, "output", run.Output, "")
		if run.Err != nil {
			t.Errorf("error = %v, want nil", run.Err)
		}
	})
}

func TestUpdateRunStatusOwnedOrUnknown(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		id := b.ownedRun(t)
		for _, to := range runStatuses {
			kit.WantIs(t, b.svc.UpdateRunStatus(t.Context(), id, to, nil, nil), workflow.ErrRunOwned)
			kit.WantIs(t, b.svc.UpdateRunStatus(t.Context(), "nobody", to, nil, nil), workflow.ErrRunNotFound)
		}
	})
}

// Of callers that race to end a run exactly one wins.
func TestRacingEnds(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		ends := []workflow.RunStatus{workflow.RunCompleted, workflow.RunFailed, workflow.RunCancelled}
		for range 5 {
			id := b.newRun(t)
			errs := kit.Together(15, func(i int) error {
				return b.svc.UpdateRunStatus(t.Context(), id, ends[i%3], i, nil)
			})
			run, err := b.svc.GetRun(t.Context(), id)
			kit.Must(t, err)
			var won int
			kit.Must(t, run.DecodeOutput(&won))
			for i, err := range errs {
				if i == won {
					kit.Must(t, err)
					continue
				}
				var lost *workflow.TransitionError
				if !errors.As(err, &lost) || lost.From != run.Status {
					t.Errorf("caller %d: error = %v, want a *TransitionError from %s", i, err, run.Status)
				}
			}
		}
	})
}

// A write that had to wait decides by what it finds then, not by what it saw before.
func TestWritesSeeWhatTheyWaitedFor(t *testing.T) {
	each(t, func(t *testing.T, access pgtest.Access) {
		b := setup(t, access)
		for name, test := range map[string]struct {
			holder string // what another transaction does to the run meanwhile
			call   func(id string) error
			want   error
		}{
			"status after start": {
				`UPDATE workflows.workflow_runs SET status = 'running' WHERE id = $1`,
				func(id string) error {
					return b.svc.UpdateRunStatus(t.Context(), id, workflow.RunSuspended, 1, nil)
				}, nil,
			},
			"status after end": {
				`UPDATE workflows.workflow_runs SET status = 'failed' WHERE id = $1`,
				func(id string) error {
					err := b.svc.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, 1, nil)
					var refused *workflow.TransitionError
					if errors.As(err, &refused) && refused.From == workflow.RunFailed {
						return nil
					}
					return fmt.Errorf("not refused: %w", err)
				}, nil,
			},
			"status after claim": {
				`UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody' WHERE id = $1`,
				func(id string) error {
					return b.svc.UpdateRunStatus(t.Context(), id, workflow.RunCompleted, 1, nil)
				}, workflow.ErrRunOwned,
			},
			"step after end": {
				`UPDATE workflows.workflow_runs SET status = 'failed' WHERE id = $1`,
				func(id string) error { return b.svc.SetStepResult(t.Context(), id, "s", 1) }, workflow.ErrRunFinished,
			},
			"step after claim": {
				`UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody' WHERE id = $1`,
				func(id string) error { return b.svc.SetStepResult(t.Context(), id, "s", 1) }, workflow.ErrRunOwned,
			},
			"step after delete": {
				`DELETE FROM workflows.workflow_runs WHERE id = $1`,
				func(id string) error { return b.svc.SetStepResult(t.Context(), id, "s", 1) }, workflow.ErrRunNotFound,
			},
			"delete after claim": {
				`UPDATE workflows.workflow_runs SET status = 'running', owner = 'somebody' WHERE id = $1`,
				func(id string) error { return b.svc.DeleteRun(t.Context(), id) }, workflow.ErrRunOwned,
			},
		} {
			t.Run(name, func(t *testing.T) { // one after the other: they count waiters
				id := b.newRun(t)
				holder := kit.Begin(t, b.side)
				kit.Exec(t, holder, test.holder, id)
				answer := kit.Go(t, func() error { return test.call(id) })
				kit.Waiters(t, b.side, 1)
				kit.Must(t, holder.Commit())
				kit.WantIs(t, kit.Receive(t, "the answer", answer), test.want)
				if name != "status after start" {
					if b.hasStep(t, id) {
						t.Error("the step was written")
					}
				}
			})
		}
	})
}
