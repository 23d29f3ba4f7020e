package store

import (
	"fmt"
	"strconv"
	"strings"
)

// An array is an array literal of PostgreSQL in the making. Drivers have types of their own for arrays; the literal, as a
// string, they all send alike.
type array struct{ text strings.Builder }

// add appends a string, an int64 or nil.
func (a *array) add(value any) {
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

// literal ends the array.
func (a *array) literal() string {
	if a.text.Len() == 0 {
		return "{}"
	}
	a.text.WriteByte('}')
	return a.text.String()
}
