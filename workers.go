package workflow

import (
	"context"
	"time"
)

// Worker is a process that executes runs, or has, as its row stands: [Service.Work] makes one each time it begins. Rows of workers that
// are gone are deleted by the living ones after an hour. Times are the database's, to the millisecond.
type Worker struct {
	ID         string   // as Run.Owner
	Host       string   // of its process; "" when it does not know
	PID        int      // process id on that host
	Version    string   // Config.Version of the process; "" for none
	Workflows  []string // that it has registered
	Queues     []string // that it serves (Config.Serve), with NoQueue for runs in none; none: all
	StartedAt  time.Time
	LeaseUntil time.Time // when others take its runs over unless a heartbeat comes before
	Alive      bool      // its lease has not ended; one that has stopped or died is not
	Executing  int       // runs that it has: of one that is not alive, those that nobody has taken over yet; at most 1,000 are counted
	InFlight   int       // its steps that have been in flight for long, as [Service.StepsInFlight] lists them
}

// ListWorkers returns the workers of all processes, those that are alive first, and among them those that have worked for longest: at most
// 1,000. It counts by an index what they execute; that suits a look every few seconds.
func (s *Service) ListWorkers(ctx context.Context) ([]Worker, error) {
	if err := s.ready(ctx, "list workers"); err != nil {
		return nil, err
	}
	found, err := s.store.ListWorkers(ctx)
	if err != nil {
		return nil, err
	}
	workers := make([]Worker, len(found))
	for i := range found {
		w := &found[i]
		workers[i] = Worker{
			ID: w.ID, Host: w.Host, PID: w.PID, Version: w.Version, Workflows: w.Workflows, Queues: w.Queues,
			StartedAt: w.StartedAt, LeaseUntil: w.LeaseUntil, Alive: w.Alive, Executing: w.Executing, InFlight: w.InFlight,
		}
	}
	return workers, nil
}
