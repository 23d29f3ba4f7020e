package workflow

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/engine"
)

// Do executes a step of the run that ctx carries: f is called, and what it returns is recorded before Do returns. When the
// workflow's function is called again for the same run, after a crash or elsewhere, Do returns what is recorded and does
// not call f.
//
// f has effects of its own, and the process may die after them and before the record: then f is called again. Make its
// effects repeatable, for example with a key made of the run's id ([RunID]) and the step's name.
//
// The result travels as JSON, the first time too. An error of f is recorded as well and returned as an *[Error]. A name has
// at most 1,024 bytes and neither # nor /; a name that is reached again in one run becomes name#1, name#2 and so on, in
// the order of reach.
//
// When the run was lost or its worker stops, Do returns the cause of ctx; return it from the workflow's function.
func Do[T any](ctx context.Context, name string, f func(ctx context.Context) (T, error)) (T, error) {
	var result T
	if err := checkStepName(name); err != nil {
		return result, err
	}
	recorded, err := engine.Step(ctx, name, func(ctx context.Context) (json.RawMessage, error) {
		value, err := f(ctx)
		if err != nil {
			return nil, err
		}
		return encode("result of step "+name, value, payloadLimit(ctx))
	})
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(recorded, &result); err != nil {
		return result, fmt.Errorf("workflow: decode result of step %q as %T: %w", name, result, err)
	}
	return result, nil
}

// RunID returns the id of the run that ctx carries, "" outside a run.
func RunID(ctx context.Context) string { return engine.RunID(ctx) }
