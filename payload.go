package workflow

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// encode is encodeJSON of a payload that errors name.
func encode(what string, v any, limit int) (json.RawMessage, error) {
	text, err := encodeJSON(v, limit)
	if err != nil {
		return nil, fmt.Errorf("workflow: %s: %w", what, err)
	}
	return text, nil
}

// encodeJSON returns the JSON text of v, checked for what JSONB refuses, so that bad input never reaches the server (where
// it would abort a transaction of the application). nil is JSON null. A large value is walked once to make its text, and the text
// once to check it. Nobody else has the memory of what is returned.
func encodeJSON(v any, limit int) (json.RawMessage, error) {
	if s, ok := v.(string); ok {
		return encodeText(s, limit)
	}
	text, _ := v.(json.RawMessage)
	given := text != nil
	if !given {
		encoded, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
		}
		if string(encoded) == "{}" && hidesAll(reflect.TypeOf(v)) {
			return nil, fmt.Errorf("%w: %T has no exported field, so its JSON would be empty", ErrInvalidArgument, v)
		}
		text = encoded
	}
	if err := checkSize(text, limit); err != nil {
		return nil, err
	}
	minuses, err := checkJSONB(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	switch {
	case minuses != nil:
		return withoutMinuses(text, minuses), nil
	case given: // its owner may use the memory again, even while a statement that was left behind still reads it
		return bytes.Clone(text), nil
	default:
		return text, nil
	}
}

// encodeText is encodeJSON of a text. Its JSON is made and checked in one walk.
func encodeText(s string, limit int) (json.RawMessage, error) {
	text, err := quote(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	if err := checkSize(text, limit); err != nil {
		return nil, err
	}
	return text, nil
}

func checkSize(text json.RawMessage, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%w: %d bytes of JSON, at most %d (see Config.PayloadLimit)", ErrPayloadTooLarge, len(text), limit)
	}
	return nil
}

// withoutMinuses returns a valid JSON text with 0 for -0, as JSONB has it: a value that is decoded from it before it was stored is
// the same as after.
func withoutMinuses(text json.RawMessage, minuses []int) json.RawMessage {
	out := make(json.RawMessage, 0, len(text))
	kept := 0
	for _, at := range minuses {
		out = append(out, text[kept:at]...)
		kept = at + 1
	}
	return append(out, text[kept:]...)
}

// hidesAll reports whether t is a struct (or a pointer to one) with fields of which none is exported, and without a
// marshaling method of its own: stored as {}, it would come back empty.
func hidesAll(t reflect.Type) bool {
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer:
		return hidesAll(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if field := t.Field(i); field.IsExported() || field.Anonymous {
				return false
			}
		}
		return t.NumField() > 0
	default:
		return false
	}
}
