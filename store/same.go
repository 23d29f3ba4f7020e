package store

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// sameJSON reports whether two payloads are equal as JSONB compares them: numbers by value, objects whatever the order of
// their keys (of equal ones the last counts). It compares what was read with what would have been written, where something was
// there before; nil is no payload, which is not JSON null.
func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil || bytes.Equal(a, b) {
		return (a == nil) == (b == nil)
	}
	left, ok := parseJSON(a)
	if !ok {
		return false
	}
	right, ok := parseJSON(b)
	return ok && sameValue(left, right)
}

func parseJSON(text json.RawMessage) (v any, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return v, decoder.Decode(&v) == nil
}

func sameValue(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && decimalOf(a.String()) == decimalOf(b.String())
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameValue(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, value := range a {
			other, ok := b[key]
			if !ok || !sameValue(value, other) {
				return false
			}
		}
		return true
	default: // strings, booleans and null
		return a == b
	}
}

// A decimal is a number in one form: 0.digits × 10^exponent, the digits without zeros at either end.
type decimal struct {
	negative bool
	digits   string
	exponent int
}

func decimalOf(number string) decimal {
	var d decimal
	number, d.negative = strings.CutPrefix(number, "-")
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	for _, digit := range strings.TrimLeft(exponent, "+-") {
		if d.exponent < 1<<24 { // no number that JSONB takes is longer
			d.exponent = 10*d.exponent + int(digit-'0')
		}
	}
	if strings.HasPrefix(exponent, "-") {
		d.exponent = -d.exponent
	}
	all := whole + fraction
	d.digits = strings.TrimLeft(all, "0")
	d.exponent += len(whole) - (len(all) - len(d.digits))
	d.digits = strings.TrimRight(d.digits, "0")
	if d.digits == "" {
		return decimal{}
	}
	return d
}

// sameError compares an error that was read with one that would have been written.
func sameError(column pg.JSONB, e *Error) bool {
	encoded := encodeError(e)
	if encoded == nil {
		return column == nil
	}
	return sameJSON(json.RawMessage(column), encoded)
}
