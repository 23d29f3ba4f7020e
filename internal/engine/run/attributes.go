package run

import (
	"context"
	"encoding/json"

	"github.com/sqlworkflow/workflow/store"
)

// SetAttributes is a step that sets attributes of its run, an object of texts, in the statement that records it: once, so that a replay
// does not bring back older values.
func SetAttributes(ctx context.Context, name string, o Options, attributes json.RawMessage) error {
	_, err := do(ctx, name, store.AttributesStep, &o, func(_ context.Context, a *attempt) (*record, error) {
		row := a.success(attributes)
		row.Again = true // it goes alone
		return a.checkpoint(row)
	})
	return err
}
