package pgtest

import (
	"context"
	"fmt"
	"testing"
)

// Example returns what this package needs of a test, for an example, which has none: what would fail a test panics. At its end the
// example calls end, which cleans up, the latest first.
func Example() (tb testing.TB, end func()) {
	e := new(exampleTB)
	return e, e.end
}

type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                           {}
func (*exampleTB) Context() context.Context          { return context.Background() }
func (*exampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (tb *exampleTB) Cleanup(f func())               { tb.cleanups = append(tb.cleanups, f) }

func (tb *exampleTB) end() {
	for i := len(tb.cleanups) - 1; i >= 0; i-- {
		tb.cleanups[i]()
	}
}
