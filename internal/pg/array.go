package pg

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// An Array is an array literal of PostgreSQL in the making. Drivers have types of their own for arrays; the literal, as a
// string, they all send alike.
type Array struct{ text strings.Builder }

// Reserve makes room for a number of bytes, unless there is some already.
func (a *Array) Reserve(bytes int) {
	if a.text.Len() == 0 {
		a.text.Grow(bytes)
	}
}

// Add appends a string, an int64 or nil.
func (a *Array) Add(value any) {
	element := make([]byte, 0, 64)
	switch v := value.(type) {
	case nil:
		element = append(element, "NULL"...)
	case int64:
		element = AppendNumber(element, v)
	case string:
		element = AppendText(element, v)
	default:
		panic(fmt.Sprintf("a row has a %T", value))
	}
	a.AddElement(element)
}

// AddElement appends what AppendText or AppendNumber has made, or NULL.
func (a *Array) AddElement(element []byte) {
	if a.text.Len() == 0 {
		a.text.WriteByte('{')
	} else {
		a.text.WriteByte(',')
	}
	a.text.Write(element)
}

// AppendNumber appends a number as an array literal has it.
func AppendNumber(to []byte, n int64) []byte { return strconv.AppendInt(to, n, 10) }

// AppendText appends a text as an array literal has it: in quotes, with those in it escaped.
func AppendText[T string | json.RawMessage](to []byte, text T) []byte {
	to = append(to, '"')
	plain := 0 // where what is not appended yet begins
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '\\' {
			to = append(to, text[plain:i]...)
			to = append(to, '\\')
			plain = i
		}
	}
	to = append(to, text[plain:]...)
	return append(to, '"')
}

// Literal ends the array.
func (a *Array) Literal() string {
	if a.text.Len() == 0 {
		return "{}"
	}
	a.text.WriteByte('}')
	return a.text.String()
}

// Texts returns the literal of an array of texts.
func Texts(all []string) string {
	var a Array
	for _, s := range all {
		a.Add(s)
	}
	return a.Literal()
}
