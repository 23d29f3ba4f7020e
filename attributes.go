package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/sqlworkflow/workflow/internal/engine/run"
)

// Bounds of attributes: they stand in an index.
const (
	maxAttributes     = 16 // that are set at once, or asked for
	maxAttributeName  = 64 // bytes
	maxAttributeValue = 255
)

// WithAttributes gives the run search attributes, values by their names, such as the customer that an order is of: [RunFilter.Attributes]
// finds runs by them. They stand in a table of their own, cost a run without them nothing, and go when the run is deleted. There are at
// most 16, names of at most 64 bytes and values of at most 255, neither empty; else it is ErrInvalidArgument. They are no payload: whoever
// reads the table sees them. A run that is there already ([WithRunID], [WithUnique]) keeps those that it has.
func WithAttributes(attributes map[string]string) StartOption {
	attributes = maps.Clone(attributes)
	return startOption(func(o *startOptions) { o.attributes = attributes })
}

// SetAttributes sets search attributes of the run that ctx carries, as [WithAttributes] does when it is started: those with a name that the
// run has already get another value, those whose value is empty are removed, and the others stay. It is a step of the given name, recorded in the statement that sets them: when
// the function is called again, it changes nothing, so values that were set later stay. Its errors are those of [Do].
func SetAttributes(ctx context.Context, name string, attributes map[string]string) error {
	if err := checkStep(ctx, name); err != nil {
		return err
	}
	o, err := stepOptions(ctx, nil)
	if err == nil {
		err = checkAttributes("attributes", attributes, 0)
	}
	if err == nil && len(attributes) == 0 {
		err = fmt.Errorf("%w: there are no attributes", ErrInvalidArgument)
	}
	if err != nil {
		return fmt.Errorf("workflow: step %q: %w", name, err)
	}
	object, err := json.Marshal(attributes)
	if err != nil {
		return fmt.Errorf("workflow: step %q: %w", name, err)
	}
	return stepError(run.SetAttributes(ctx, name, o, object))
}

// GetAttributes returns the search attributes of a run, an empty map if it has none, or ErrRunNotFound.
func (s State) GetAttributes(ctx context.Context, id string) (map[string]string, error) {
	if err := s.readyRun(ctx, "get attributes", id); err != nil {
		return nil, err
	}
	return s.store.GetAttributes(ctx, id)
}

// checkAttributes says what is wrong with attributes, whose values have at least so many bytes: 0, where an empty one removes, or 1.
func checkAttributes(what string, attributes map[string]string, least int) error {
	if len(attributes) > maxAttributes {
		return fmt.Errorf("%w: %s: there are %d, at most %d", ErrInvalidArgument, what, len(attributes), maxAttributes)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if err := nameProblem(what+": name", name, maxAttributeName); err != nil {
			return err
		}
		if least == 0 && attributes[name] == "" {
			continue
		}
		if err := nameProblem(fmt.Sprintf("%s: value of %q", what, name), attributes[name], maxAttributeValue); err != nil {
			return err
		}
	}
	return nil
}
