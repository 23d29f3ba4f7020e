package workflow

import (
	"context"
	"time"
)

// Stats is how the work of a schema stands at one moment, in all processes unless a field says otherwise.
type Stats struct {
	// Runs by status; every status is a key.
	Runs map[RunStatus]int64

	// Workers alive: those whose lease has not ended.
	Workers int

	// InFlight is how many runs this process executes, at most Config.Concurrency.
	InFlight int

	// Lag is for how long the oldest run that a worker may claim has been waiting for one, by the database's clock; 0 when
	// none waits. When it grows there are too few workers, or none that knows the workflow. The runs of a worker that has
	// died count once they have been taken over.
	Lag time.Duration
}

// Stats counts runs and workers. It reads every run, finished ones too, in one pass: a third of a second for a million
// small ones that are in memory, ten times that when the disk has them. That suits a look every minute, not every
// second; what finished long ago can be deleted ([State.DeleteRun]).
func (s *Service) Stats(ctx context.Context) (Stats, error) {
	if err := s.ready(ctx, "stats"); err != nil {
		return Stats{}, err
	}
	counted, err := s.store.GetStats(ctx)
	if err != nil {
		return Stats{}, err
	}
	return Stats{
		Runs: counted.Runs, Workers: counted.Workers, Lag: counted.Lag,
		InFlight: s.engine.InFlight(),
	}, nil
}
