package workflow

import (
	"encoding/json"
	"math/big"
	"reflect"
	"sync"
	"time"
)

// PostgreSQL normalises JSON: keys change their order, 1e3 becomes 1000. Most types that JSON is decoded into cannot tell. Those that
// keep its text can: their values are read back from the database the first time too, so that a replay sees the same. The
// others save that statement.

var (
	rawMessage  = reflect.TypeFor[json.RawMessage]()
	number      = reflect.TypeFor[json.Number]()
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()

	// Decoders of the standard library to which what PostgreSQL changes makes no difference.
	indifferent = map[reflect.Type]bool{
		reflect.TypeFor[time.Time](): true, reflect.TypeFor[big.Int](): true,
	}

	keepsText sync.Map // of reflect.Type to bool
)

// exact reports whether a T that is decoded from JSON shows more of its text than its value.
func exact[T any]() bool { return exactType(reflect.TypeFor[T]()) }

func exactType(t reflect.Type) bool {
	if known, ok := keepsText.Load(t); ok {
		return known.(bool) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	keeps := looksAtText(t, make(map[reflect.Type]bool))
	keepsText.Store(t, keeps)
	return keeps
}

func looksAtText(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch {
	case t == rawMessage, t == number:
		return true
	case indifferent[t]:
		return false
	case t.Implements(unmarshaler), reflect.PointerTo(t).Implements(unmarshaler):
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return looksAtText(t.Elem(), seen)
	case reflect.Map:
		return looksAtText(t.Key(), seen) || looksAtText(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if looksAtText(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
