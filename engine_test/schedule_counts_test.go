package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Where there is no schedule nobody polls for due ones: a look goes with a heartbeat, not with the polls.
func TestStatementsOfAnIdleWorkerWithoutSchedules(t *testing.T) {
	eachWay(t, func(t *testing.T, way way) {
		c := count(t, way, func(config *workflow.Config) { config.PollInterval = 5 * time.Millisecond })
		c.svc.Register(workflow.Define("w", func(context.Context, int) (int, error) { return 1, nil }))
		c.sofar()
		c.forget()
		kit.Work(t, c.svc)
		kit.Until(t, "it has polled many times", func() bool { return c.sofar()["claim_runs"] >= 200 && c.sofar()["due_schedules"] > 0 })
		if got := c.sofar(); got["due_schedules"] > got["heartbeat"]+2 {
			t.Errorf("%v; want a look for schedules with each heartbeat", got)
		}
	})
}
