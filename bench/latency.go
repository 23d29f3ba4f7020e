package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// A correspondent is one way for a run to get from who starts it to who executes it, and its result back.
type correspondent struct {
	name     string
	settings string // what differs from its defaults, for the report

	openWorker  func(ctx context.Context, url string) (closer, error) // nil: the process that starts it executes it
	openStarter func(ctx context.Context, url string) (starter, error)
}

// A starter starts runs one at a time.
type starter interface {
	closer
	// Once starts a run of one step and returns when its result is known: which is when the step began.
	Once(ctx context.Context) (began time.Time, err error)
}

// The names of values.
const (
	beginsP50, beginsP99 = "begins, p50 µs", "begins, p99 µs"
	knownP50, knownP99   = "known, p50 µs", "known, p99 µs"
	startedRuns          = "runs"
)

// Between runs nothing happens, for long enough that everybody rests, and never for the same time: a start comes at no certain moment
// between two polls.
const (
	leastRest = 110 * time.Millisecond
	mostRest  = 190 * time.Millisecond
)

const (
	oursHere          = "sqlworkflow, in process"
	oursHereQueue     = "sqlworkflow, in process, through a queue"
	oursAcross        = "sqlworkflow"
	oursAcrossFast    = "sqlworkflow, polling every 10 ms"
	oursNotifiedPGX   = "sqlworkflow, notifier on pgx"
	oursNotifiedPQ    = "sqlworkflow, notifier on lib/pq"
	riverAcross       = "River 0.51, pgx, defaults"
	riverAcrossFast   = "River 0.51, pgx, fastest"
	riverAcrossSQL    = "River 0.51, database/sql, defaults"
	riverAcrossSQLFst = "River 0.51, database/sql, fastest"
	dbosHere          = "DBOS Go 1.8, in process"
	dbosAcross        = "DBOS Go 1.8, defaults"
	dbosAcrossFast    = "DBOS Go 1.8, fastest"
)

func correspondentNamed(name string) correspondent {
	for _, c := range correspondents {
		if c.name == name {
			return c
		}
	}
	return correspondent{}
}

// runLatency times runs that are alone: until the work begins, and until who started it knows the result.
func runLatency(ctx context.Context, t task) (v values, err error) {
	s, err := correspondentNamed(t.Contestant).openStarter(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := s.Once(ctx); err != nil { // connections, plans, caches
		return nil, err
	}
	var begins, known []time.Duration
	for over := time.Now().Add(t.Window); time.Now().Before(over) || len(begins) == 0; {
		time.Sleep(leastRest + rand.N(mostRest-leastRest))
		started := time.Now()
		began, err := s.Once(ctx)
		if err != nil {
			return nil, err
		}
		known = append(known, time.Since(started))
		// The processes share the machine's clock, but for the time of day alone.
		begins = append(begins, began.Sub(started.Round(0)))
	}
	b, k := percentiles(begins), percentiles(known)
	return values{
		beginsP50: b[p50], beginsP99: b[p99], knownP50: k[p50], knownP99: k[p99], startedRuns: float64(len(known)),
	}, nil
}
