package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/sqlworkflow/workflow/internal/engine/run"
)

// made is what a step's function has returned in this process, and its text.
type made[T any] struct {
	value T
	text  json.RawMessage
}

// encode makes what cannot be encoded a final error: it will be no different the next time.
func (m *made[T]) encode(ctx context.Context, name string, value T, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, recorded(err)
	}
	m.value = value
	if m.text, err = m.encoded(configOf(ctx).PayloadLimit); err != nil {
		return nil, run.Final(fmt.Errorf("workflow: result of step %q: %w", name, err))
	}
	return m.text, nil
}

func (m *made[T]) encoded(limit int) (json.RawMessage, error) {
	if text, ok := any(&m.value).(*string); ok { // which costs no copy of it
		return encodeText(*text, limit)
	}
	encoded, err := encodeJSON(m.value, limit)
	if err == nil && holdsInterfaces(reflect.TypeFor[T]()) { // then it may not come back, which is better known before it is recorded
		if decoded := json.Unmarshal(encoded, new(T)); decoded != nil {
			err = fmt.Errorf("%w: it could not be decoded again as %s: %w", ErrInvalidArgument, typeName[T](), decoded)
		}
	}
	return encoded, err
}

// reads reports whether what is recorded would be decoded to the value, so that a large text need not be copied once more. It is
// one whose every byte stands for itself: else its JSON would be longer.
func (m *made[T]) reads(recorded json.RawMessage) bool {
	text, ok := any(&m.value).(*string)
	return ok && len(recorded) == len(*text)+len(`""`) && len(m.text) > 0 && &recorded[0] == &m.text[0]
}
