package workflow

import (
	"context"
	"time"
)

// StepInFlight is a step whose attempt goes on: its function has been called, and what became of it is not recorded yet.
type StepInFlight struct {
	RunID  string
	Step   string        // its key, as Step.Name
	Since  time.Time     // when the attempt began, by the database's clock
	For    time.Duration // how long ago that was, by the same clock
	Worker string        // id of the worker that executes it, as Run.Owner
	Host   string        // of that worker's process; "" when it does not know
	PID    int           // process id on that host
}

// StepsInFlight tells what hangs where: the steps of a run, or of all runs for "", that have been in flight for long, in all
// processes. Those come first that have been so for the longest. An unknown run has none.
//
// Workers publish such steps with their heartbeat, every sixth of Config.Lease, from the second one on that meets them; each
// worker at most a hundred. The list has at most a thousand, and those of a worker that has died are not in it.
func (s *Service) StepsInFlight(ctx context.Context, runID string) ([]StepInFlight, error) {
	const op = "list steps in flight"
	err := s.ready(ctx, op)
	if runID != "" {
		err = s.readyRun(ctx, op, runID)
	}
	if err != nil {
		return nil, err
	}
	found, err := s.store.StepsInFlight(ctx, runID)
	if err != nil {
		return nil, err
	}
	steps := make([]StepInFlight, len(found))
	for i, step := range found {
		steps[i] = StepInFlight(step)
	}
	return steps, nil
}
