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
	marshaler   = reflect.TypeFor[json.Marshaler]()
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()

	// Decoders of the standard library to which what PostgreSQL changes makes no difference.
	indifferent = map[reflect.Type]bool{
		reflect.TypeFor[time.Time](): true, reflect.TypeFor[big.Int](): true,
	}

	keepsText  sync.Map // of reflect.Type to bool
	interfaces sync.Map // of reflect.Type to bool
)

// exact reports whether a T that is decoded from JSON shows more of its text than its value.
func exact[T any]() bool { return exactType(reflect.TypeFor[T]()) }

func exactType(t reflect.Type) bool {
	return remembered(&keepsText, t, func(t reflect.Type) (is, known bool) {
		switch {
		case t == rawMessage, t == number:
			return true, true
		case indifferent[t]:
			return false, true
		}
		return codesItself(t), codesItself(t) // its decoder sees the text; its encoder may write a key in two spellings
	})
}

func codesItself(t reflect.Type) bool {
	for _, coder := range []reflect.Type{marshaler, unmarshaler} {
		if t.Implements(coder) || reflect.PointerTo(t).Implements(coder) {
			return true
		}
	}
	return false
}

// holdsInterfaces reports whether values of a type may hold others that JSON cannot decode into it.
func holdsInterfaces(t reflect.Type) bool {
	return remembered(&interfaces, t, func(t reflect.Type) (is, known bool) {
		return t.Kind() == reflect.Interface && t.NumMethod() > 0, t.Kind() == reflect.Interface || codesItself(t)
	})
}

// remembered reports whether a type, or one that it is made of, is what is says; that it does not know of a type leaves the
// answer to what that is made of.
func remembered(memory *sync.Map, t reflect.Type, is func(reflect.Type) (is, known bool)) bool {
	if basic := t.Kind() <= reflect.Complex128 || t.Kind() == reflect.String; basic && t.PkgPath() == "" {
		return false // string, int and the like, which most steps return
	}
	if known, ok := memory.Load(t); ok {
		return known.(bool) //nolint:forcetypeassert // nothing else is stored
	}
	found := within(t, is, make(map[reflect.Type]bool))
	memory.Store(t, found)
	return found
}

func within(t reflect.Type, is func(reflect.Type) (is, known bool), seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if answer, known := is(t); known {
		return answer
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return within(t.Elem(), is, seen)
	case reflect.Map:
		return within(t.Key(), is, seen) || within(t.Elem(), is, seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if within(t.Field(i).Type, is, seen) {
				return true
			}
		}
	}
	return false
}
