package workflow

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// encode returns the JSON text of v, checked for what JSONB refuses, so that bad input never reaches the server (where
// it would abort a transaction of the application). nil is JSON null.
func encode(what string, v any, limit int) (json.RawMessage, error) {
	text, ok := v.(json.RawMessage)
	if !ok || text == nil {
		encoded, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("workflow: %s: %w: %w", what, ErrInvalidArgument, err)
		}
		if string(encoded) == "{}" && hidesAll(reflect.TypeOf(v)) {
			return nil, fmt.Errorf("workflow: %s: %w: %T has no exported field, so its JSON would be empty",
				what, ErrInvalidArgument, v)
		}
		text = encoded
	}
	if len(text) > limit {
		return nil, fmt.Errorf("workflow: %s: %w: %d bytes of JSON, at most %d (see Config.PayloadLimit)",
			what, ErrPayloadTooLarge, len(text), limit)
	}
	if err := checkJSONB(text); err != nil {
		return nil, fmt.Errorf("workflow: %s: %w: %w", what, ErrInvalidArgument, err)
	}
	return withoutNegativeZeros(text), nil
}

// withoutNegativeZeros returns a valid JSON text with 0 for -0, as JSONB has it: a value that is decoded from it before it was
// stored is the same as after. It copies only a text that has one.
func withoutNegativeZeros(text json.RawMessage) json.RawMessage {
	var out json.RawMessage
	kept, found := 0, false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '-':
			if negativeZero(text[i+1:]) {
				out = append(out, text[kept:i]...)
				kept, found = i+1, true
			}
		}
	}
	if !found {
		return text
	}
	return append(out, text[kept:]...)
}

// negativeZero reports whether the number that follows a minus sign is zero.
func negativeZero(digits []byte) bool {
	for _, c := range digits {
		switch {
		case '1' <= c && c <= '9':
			return false
		case c != '0' && c != '.':
			return true
		}
	}
	return true
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

// What JSONB can hold. Its numbers are PostgreSQL's numeric, which bounds the digits on both sides of the point. Its nesting is
// bounded by the server's stack, well above the bound here.
const (
	maxNesting        = 1000
	maxIntegerDigits  = 131072
	maxFractionDigits = 16383
)

// checkJSONB refuses the valid JSON texts that JSONB refuses: characters that PostgreSQL's text cannot store, and
// numbers out of range. It may refuse too much (zero with a huge exponent), never too little.
func checkJSONB(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("JSON is not valid UTF-8")
	}
	if !json.Valid(text) {
		return errors.New("not valid JSON")
	}
	depth := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			end, err := checkString(text, i)
			if err != nil {
				return err
			}
			i = end
		case c == '-' || '0' <= c && c <= '9':
			end, err := checkNumber(text, i)
			if err != nil {
				return err
			}
			i = end
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return fmt.Errorf("JSON is nested more than %d deep", maxNesting)
			}
			i++
		case c == '}' || c == ']':
			depth--
			i++
		default:
			i++
		}
	}
	return nil
}

// checkString checks the string that begins at text[i] and returns the index after it.
func checkString(text []byte, i int) (int, error) {
	for i++; text[i] != '"'; i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if text[i] != 'u' {
			continue
		}
		r := hex4(text[i+1:])
		i += 4
		switch {
		case r == 0:
			return 0, errors.New(`a string has the character \u0000, which PostgreSQL cannot store`)
		case 0xDC00 <= r && r <= 0xDFFF:
			return 0, errors.New(`a string has half of a surrogate pair, which PostgreSQL cannot store`)
		case 0xD800 <= r && r <= 0xDBFF:
			if text[i+1] != '\\' || text[i+2] != 'u' {
				return 0, errors.New(`a string has half of a surrogate pair, which PostgreSQL cannot store`)
			}
			if low := hex4(text[i+3:]); low < 0xDC00 || low > 0xDFFF {
				return 0, errors.New(`a string has half of a surrogate pair, which PostgreSQL cannot store`)
			}
			i += 6
		}
	}
	return i + 1, nil
}

// hex4 reads the four hexadecimal digits that follow \u in valid JSON.
func hex4(text []byte) uint64 {
	r, err := strconv.ParseUint(string(text[:4]), 16, 16)
	if err != nil {
		return 0
	}
	return r
}

// checkNumber checks the number that begins at text[i] and returns the index after it.
func checkNumber(text []byte, i int) (int, error) {
	digits := func() int {
		start := i
		for i < len(text) && '0' <= text[i] && text[i] <= '9' {
			i++
		}
		return i - start
	}
	if text[i] == '-' {
		i++
	}
	integer, fraction, exponent := digits(), 0, 0
	if i < len(text) && text[i] == '.' {
		i++
		fraction = digits()
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		start := i
		if text[i] == '+' || text[i] == '-' {
			i++
		}
		digits()
		var err error
		if exponent, err = strconv.Atoi(string(text[start:i])); err != nil || exponent > 1e6 || exponent < -1e6 {
			return 0, errors.New("a number is out of PostgreSQL's range")
		}
	}
	if integer+exponent > maxIntegerDigits || fraction-exponent > maxFractionDigits {
		return 0, errors.New("a number is out of PostgreSQL's range")
	}
	return i, nil
}
