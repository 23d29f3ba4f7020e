package engine_test

import (
	"context"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Whoever is told of a run's end finds its slot free: with as many slots as there are callers, who start a run when the last one has ended,
// each is executed where it was started, and none has to be claimed or asked for.
func TestSlotIsFreeWhenTheEndIsTold(t *testing.T) {
	t.Parallel()
	const callers, each = 32, 200
	c := count(t, everyWay[0], func(config *workflow.Config) { config.Concurrency = callers })
	c.settle(t)
	empty := workflow.Define("empty", func(context.Context, int) (int, error) { return 1, nil })
	c.svc.Register(empty)
	for _, err := range kit.Together(callers, func(int) error {
		for range each {
			handle, err := empty.Start(t.Context(), c.svc, 1)
			if err != nil {
				return err
			}
			if _, err = handle.Result(kit.Context(t)); err != nil {
				return err
			}
		}
		return nil
	}) {
		kit.Must(t, err)
	}
	got := c.sofar()
	for _, label := range []string{"claim_runs", "find_ended"} {
		if got[label] > 0 {
			t.Errorf("%d times %s for %d runs, want none: %v", got[label], label, callers*each, got)
		}
	}
}
