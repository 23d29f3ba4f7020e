package web_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// exampleTB is what pgtest needs of a test, for examples.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                           {}
func (*exampleTB) Context() context.Context          { return context.Background() }
func (*exampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (tb *exampleTB) Cleanup(f func())               { tb.cleanups = append(tb.cleanups, f) }

// newService is a service on a database of its own.
func newService() (svc *workflow.Service, closeAll func()) {
	tb := &exampleTB{}
	svc, err := workflow.New(workflow.Config{DB: pgtest.New(tb).Open(tb, pgtest.PQ)})
	if err != nil {
		panic(err)
	}
	return svc, func() {
		if err := svc.Close(); err != nil {
			panic(err)
		}
		for i := len(tb.cleanups) - 1; i >= 0; i-- {
			tb.cleanups[i]()
		}
	}
}
