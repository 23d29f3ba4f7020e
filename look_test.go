package workflow_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A look has what a list has, of the last rows, and leaves out what is long, also where it was packed small.
func TestLooks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	_, err := b.svc.CreateRunWithID(ctx, "r1", "w", 1)
	kit.Must(t, err)
	long := strings.Repeat("x", 200_000)
	for name, result := range map[string]any{"a": 1, "b": long, "c": map[string]int{"n": 3}, "d": nil} {
		kit.Must(t, b.svc.SetStepResult(ctx, "r1", name, result))
		kit.Must(t, b.svc.SendSignal(ctx, "r1", name, result))
	}
	kit.Exec(t, b.db, `
		UPDATE workflows.workflow_steps SET seq = ascii(step_name) WHERE step_name <> 'd';
		UPDATE workflows.workflow_steps SET signal_seq = (SELECT seq FROM workflows.workflow_signals WHERE name = 'c') WHERE step_name = 'c';
		UPDATE workflows.workflow_steps SET result = (SELECT to_jsonb(string_agg(md5(n::text), '')) FROM generate_series(1, 1000) AS n) WHERE step_name = 'a'`)

	steps, err := b.svc.ListSteps(ctx, "r1")
	kit.Must(t, err)
	sawSteps, err := b.svc.LookAtSteps(ctx, "r1", 10)
	kit.Must(t, err)
	for i, name := range []string{"a", "b"} { // one cannot be packed, and one was
		if steps[i].Name != name || len(steps[i].Result) < 30_000 || sawSteps[i].Result != nil || sawSteps[i].LeftOut < 30_000 {
			t.Errorf("step %q: %d bytes, seen %d, left out %d", steps[i].Name, len(steps[i].Result), len(sawSteps[i].Result), sawSteps[i].LeftOut)
		}
		steps[i].Result, sawSteps[i].LeftOut = nil, 0
	}
	if diff := cmp.Diff(steps, sawSteps); diff != "" {
		t.Errorf("steps: -listed +seen:\n%s", diff)
	}
	last, err := b.svc.LookAtSteps(ctx, "r1", 2)
	kit.Must(t, err)
	if diff := cmp.Diff(steps[2:], last); diff != "" {
		t.Errorf("the last two: -listed +seen:\n%s", diff)
	}

	signals, err := b.svc.ListSignals(ctx, "r1")
	kit.Must(t, err)
	sawSignals, err := b.svc.LookAtSignals(ctx, "r1", 10)
	kit.Must(t, err)
	for i := range signals {
		if signals[i].Name == "b" && (sawSignals[i].Payload != nil || sawSignals[i].LeftOut < len(long)) {
			t.Errorf("a long signal: seen %d bytes, left out %d", len(sawSignals[i].Payload), sawSignals[i].LeftOut)
			continue
		}
		if signals[i].Name == "b" {
			signals[i].Payload, sawSignals[i].LeftOut = nil, 0
		}
	}
	if diff := cmp.Diff(signals, sawSignals); diff != "" {
		t.Errorf("signals: -listed +seen:\n%s", diff)
	}

	for _, most := range []int{0, -1} {
		_, err = b.svc.LookAtSteps(ctx, "r1", most)
		kit.WantIs(t, err, workflow.ErrInvalidArgument)
		_, err = b.svc.LookAtSignals(ctx, "r1", most)
		kit.WantIs(t, err, workflow.ErrInvalidArgument)
	}
	_, err = b.svc.LookAtSteps(ctx, "none", 1)
	kit.WantIs(t, err, workflow.ErrRunNotFound)
}
