package pgtest

import (
	"context"
	"fmt"
	"testing"
)

// An ExampleTB is what this package needs of a test, for an example, which has none: what would fail a test panics.
type ExampleTB struct {
	testing.TB
	cleanups []func()
}

func (*ExampleTB) Helper()                           {}
func (*ExampleTB) Context() context.Context          { return context.Background() }
func (*ExampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*ExampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (tb *ExampleTB) Cleanup(f func())               { tb.cleanups = append(tb.cleanups, f) }

// End cleans up, the latest first.
func (tb *ExampleTB) End() {
	for i := len(tb.cleanups) - 1; i >= 0; i-- {
		tb.cleanups[i]()
	}
}
