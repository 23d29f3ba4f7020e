package workflow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// onBoth runs a test by each driver.
func onBoth(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Parallel()
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			b := setup(t).with(t)
			test(t, b.on(access))
		})
	}
}

// waiting waits until the run is parked for something.
func (b *bench) waiting(runID, what string) workflow.Run {
	b.t.Helper()
	var run workflow.Run
	kit.Until(b.t, runID+" waits for "+what, func() bool {
		run = b.get(runID)
		return run.Status == workflow.RunSuspended && strings.Contains(strings.Join(run.WaitsFor, " "), what)
	})
	return run
}

func panics(f func()) (said string) {
	defer func() { said = fmt.Sprint(recover()) }()
	f()
	return ""
}

func second[T any](_ T, err error) error { return err }
