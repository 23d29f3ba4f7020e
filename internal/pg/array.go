package pg

import (
	"fmt"
	"strconv"
	"strings"
)

// An Array is an array literal of PostgreSQL in the making. Drivers have types of their own for arrays; the literal, as a
// string, they all send alike.
type Array struct{ text strings.Builder }

// Reserve makes room for n texts that are as long as the first one, unless there is some already.
func (a *Array) Reserve(n int, first string) {
	if a.text.Len() == 0 {
		a.text.Grow((len(first) + 8) * n)
	}
}

// Add appends a string, an int64 or nil.
func (a *Array) Add(value any) {
	if a.text.Len() == 0 {
		a.text.WriteByte('{')
	} else {
		a.text.WriteByte(',')
	}
	switch v := value.(type) {
	case nil:
		a.text.WriteString("NULL")
	case int64:
		var digits [20]byte
		a.text.Write(strconv.AppendInt(digits[:0], v, 10))
	case string:
		a.text.WriteByte('"')
		for {
			i := strings.IndexAny(v, `"\`)
			if i < 0 {
				break
			}
			a.text.WriteString(v[:i])
			a.text.WriteByte('\\')
			a.text.WriteByte(v[i])
			v = v[i+1:]
		}
		a.text.WriteString(v)
		a.text.WriteByte('"')
	default:
		panic(fmt.Sprintf("a row has a %T", value))
	}
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
