package workflow

import (
	"encoding/json"
	"unicode/utf8"
)

// quote returns the JSON text of a string and checks it for what JSONB refuses, both in one walk. It is what encoding/json makes
// of it, without the care for HTML, which JSONB undoes.
func quote(s string) (json.RawMessage, error) {
	text := make(json.RawMessage, 0, len(s)+len(s)/16+2) // room for some line ends
	text = append(text, '"')
	ascii := true
	for rest := s; ; {
		n, plain := plainPart([]byte(rest))
		ascii = ascii && plain
		text = append(text, rest[:n]...)
		if n == len(rest) {
			break
		}
		if rest[n] == 0 {
			return nil, errNUL
		}
		text = appendEscape(text, rest[n])
		rest = rest[n+1:]
	}
	text = append(text, '"')
	if !ascii && !utf8.Valid(text) {
		return json.Marshal(s) // which mends it
	}
	return text, nil
}

// appendEscape appends what stands for a byte in a string of JSON.
func appendEscape(text []byte, b byte) []byte {
	const hex = "0123456789abcdef"
	switch b {
	case '"', '\\':
		return append(text, '\\', b)
	case '\n':
		return append(text, `\n`...)
	case '\r':
		return append(text, `\r`...)
	case '\t':
		return append(text, `\t`...)
	default:
		return append(text, '\\', 'u', '0', '0', hex[b>>4], hex[b&0xF])
	}
}
