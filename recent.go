package workflow

import (
	"context"
	"fmt"
	"time"
)

// Recent is what has become of the newest runs, by the database's clock.
type Recent struct {
	Now    time.Time
	From   time.Time // runs created since then are in it
	Cut    bool      // there were more than are looked at: From is when the oldest of these was created
	Groups []RecentRuns
}

// RecentRuns are those of the newest runs that have all of this in common.
type RecentRuns struct {
	Workflow     string
	Status       RunStatus
	SuspendedFor SuspendReason // "" unless suspended
	Ended        time.Time     // when the part of time begins in which they ended, a multiple of the given length since 1970; zero: they have not ended
	Runs         int           // how many there are
}

// recentMost is how many runs are looked at.
const recentMost = 10_000

// RecentRuns groups the runs that were created within the given time before now by their workflow, their status, and the part of time, of
// the length every, in which they ended. It looks at the newest 10,000 of them, so it costs as much among millions of runs as among those; a
// look every few seconds is fine. Runs that were created before and have ended since are not in it.
//
// ErrInvalidArgument unless within is at most 31 days, and has from one to a thousand parts.
func (s *Service) RecentRuns(ctx context.Context, within, every time.Duration) (Recent, error) {
	const op = "recent runs"
	if err := s.ready(ctx, op); err != nil {
		return Recent{}, err
	}
	if within < time.Second || within > 31*24*time.Hour || every < time.Second || every > within || within/every > 1000 {
		return Recent{}, fmt.Errorf("workflow: %s: %w: %s in parts of %s: use whole parts of a second or more, at most 1,000 of them in at most 31 days",
			op, ErrInvalidArgument, within, every)
	}
	found, err := s.store.RecentRuns(ctx, within, every, recentMost)
	if err != nil {
		return Recent{}, err
	}
	recent := Recent{Now: found.Now, From: found.Now.Add(-within)}
	all, oldest := 0, found.Now
	for _, g := range found.Groups {
		all += g.Runs
		if g.Oldest.Before(oldest) {
			oldest = g.Oldest
		}
		recent.Groups = append(recent.Groups, RecentRuns{g.Workflow, g.Status, g.SuspendedFor, g.Ended, g.Runs})
	}
	if all >= recentMost {
		recent.From, recent.Cut = oldest, true
	}
	return recent, nil
}
