package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// shownBytes is how much of a payload stands on a page.
const shownBytes = 8 << 10

// A payload is JSON as it is shown.
type payload struct {
	Is     bool // there is one
	Hidden bool
	Text   string
	Left   string // how much was left out; "" for nothing
}

func payloadOf(raw json.RawMessage, may bool) payload {
	switch {
	case raw == nil:
		return payload{}
	case !may:
		return payload{Is: true, Hidden: true}
	}
	text := []byte(raw)
	var indented bytes.Buffer
	if len(raw) <= shownBytes && json.Indent(&indented, raw, "", "  ") == nil {
		text = indented.Bytes()
	}
	if len(text) <= 2*shownBytes {
		return payload{Is: true, Text: string(text)}
	}
	shown := text[:shownBytes]
	for len(shown) > 0 && !utf8.Valid(shown[max(0, len(shown)-utf8.UTFMax):]) { // in the middle of a character
		shown = shown[:len(shown)-1]
	}
	return payload{Is: true, Text: string(shown) + "…", Left: "the first " + size(len(shown)) + " of " + size(len(text))}
}

func size(n int) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
}
