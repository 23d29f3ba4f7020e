package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

func decode(what string, payload json.RawMessage, v any) error {
	if payload == nil {
		return fmt.Errorf("workflow: decode %s: none is recorded", what)
	}
	if err := unmarshal(payload, v); err != nil {
		return fmt.Errorf("workflow: decode %s: %w", what, err)
	}
	return nil
}

// unmarshal is json.Unmarshal of a payload, which is valid JSON: it was checked when it was encoded, or is JSONB's. So what is
// mostly large, a text or JSON that is kept as it is, need not be walked once to be checked and then once more.
func unmarshal(payload json.RawMessage, v any) error {
	switch v := v.(type) {
	case *json.RawMessage:
		*v = append(json.RawMessage{}, bytes.Trim(payload, " \t\r\n")...)
		return nil
	case *string:
		if n := len(payload); n > 1 && payload[0] == '"' && payload[n-1] == '"' {
			*v = unescape(payload[1 : n-1])
			return nil
		}
	}
	return json.Unmarshal(payload, v)
}

// unescape returns what stands between the quotes of a valid string, in which no surrogate is without its half.
func unescape(quoted []byte) string {
	escape := bytes.IndexByte(quoted, '\\')
	if escape < 0 {
		return string(quoted)
	}
	var text strings.Builder
	text.Grow(len(quoted))
	for ; escape >= 0; escape = bytes.IndexByte(quoted, '\\') {
		text.Write(quoted[:escape])
		letter := quoted[escape+1]
		quoted = quoted[escape+2:]
		if letter != 'u' {
			text.WriteByte(escaped(letter))
			continue
		}
		r := rune(hex4(quoted))
		quoted = quoted[4:]
		if utf16.IsSurrogate(r) {
			r = utf16.DecodeRune(r, rune(hex4(quoted[2:])))
			quoted = quoted[6:]
		}
		text.WriteRune(r)
	}
	text.Write(quoted)
	return text.String()
}

// escaped returns what a letter after a backslash stands for.
func escaped(letter byte) byte {
	switch letter {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return letter
	}
}
