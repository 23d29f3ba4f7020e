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

	// Suspended runs by what they wait for; every reason is a key.
	Suspended map[SuspendReason]int64

	// InFlight is how many runs this process executes. With Hanging it is at most Config.Concurrency, but for the runs of Execute.
	InFlight int

	// Hanging is how many functions go on in this process although their run is over here, because they ignore their context.
	// Each takes a slot.
	Hanging int

	// LastError is what the worker of this process last had trouble with that no caller was told of, and LastErrorAt when that
	// was by this process's clock; nil when there was nothing.
	LastError   error
	LastErrorAt time.Time

	// Lag is for how long the oldest run without a queue that a worker may claim has been waiting for one, by the database's clock;
	// 0 when none waits. When it grows there are too few workers, or none that knows the workflow. The runs of a worker that has
	// died count once they have been taken over. Each queue has a lag of its own: QueueState.Lag.
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
	stats := Stats{Runs: counted.Runs, Suspended: counted.Suspended, Workers: counted.Workers, Lag: counted.Lag}
	stats.InFlight, stats.Hanging = s.engine.InFlight()
	trouble := s.engine.LastTrouble()
	stats.LastError, stats.LastErrorAt = trouble.Err, trouble.At
	return stats, nil
}
