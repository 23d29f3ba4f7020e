package main

import (
	"context"
	"strings"
	"time"
)

// The work is the same for all: a run is ten steps, each with a result of 100 bytes.
const (
	stepsPerRun = 10
	connections = 32 // of each pool
)

var stepResult = strings.Repeat("x", 100)

// A contestant is one way to do the work.
type contestant struct {
	name string
	// settings are what differs from the defaults of its documentation, for the report.
	settings string

	// Whole runs, started and awaited in one process that executes up to slots of them at once.
	open func(ctx context.Context, url string, slots int) (system, error)

	// Runs of one step, started in one process and executed in another.
	openWorker   func(ctx context.Context, url string, q queueing) (closer, error)
	openProducer func(ctx context.Context, url string, q queueing) (producer, error)
}

type closer interface{ Close() error }

// A system executes runs.
type system interface {
	closer
	// Run starts a run of ten steps and returns when its result is known.
	Run(ctx context.Context) error
}

// A stepper executes one run of n steps and tells how long each took.
type stepper interface {
	Steps(ctx context.Context, n int, took func(time.Duration)) error
}

// A holder has n runs in flight, or asleep.
type holder interface {
	// Hold starts n runs that record a step and then are in the midst of another, and returns when all are.
	Hold(ctx context.Context, n int) (release func() error, err error)
	// Park starts n runs that record a step and then sleep for an hour, and returns when all do.
	Park(ctx context.Context, n int) error
}

// A producer puts runs into a queue.
type producer interface {
	closer
	Enqueue(ctx context.Context, run int) error // for many goroutines, by the number of the run
	AwaitAll(ctx context.Context) error
}

const (
	oursPGX    = "sqlworkflow, pgx"
	oursPQFast = "sqlworkflow, lib/pq binary_parameters"
	oursPQ     = "sqlworkflow, lib/pq"
	groupedPGX = "bare loop, grouped, pgx"
	groupedPQ  = "bare loop, grouped, lib/pq binary_parameters"
	unguarded  = "bare loop, grouped, without the guard, pgx"
	singlePGX  = "bare loop, single, pgx"
	singlePQ   = "bare loop, single, lib/pq binary_parameters"
	dbosGo     = "DBOS Go 1.8"
	goWork     = "go-workflows 1.4"
	riverPGX   = "River 0.51, pgx"
	riverPQ    = "River 0.51, database/sql, lib/pq"
)

var (
	onPGX    = libraryOn{driver: "pgx"}
	onPQFast = libraryOn{driver: "postgres", parameters: "binary_parameters=yes"}
	onPQ     = libraryOn{driver: "postgres"}
)

var contestants = []contestant{
	onPQ.contestant(oursPQ, "defaults"),
	onPQFast.contestant(oursPQFast, "`binary_parameters=yes`"),
	onPGX.contestant(oursPGX, "defaults"),
	{
		name:     groupedPGX,
		settings: "no engine; two statements at a time, as the library has them",
		open:     openGrouped("pgx", ""),
	},
	{name: groupedPQ, settings: "the same", open: openGrouped("postgres", "binary_parameters=yes")},
	{
		name:     unguarded,
		settings: "the same, but that a write does not ask whether its run is still its writer's, nor locks it",
		open:     openUnguarded("pgx"),
	},
	{name: singlePGX, settings: "12 statements a run, no engine", open: openSingle("pgx", "")},
	{name: singlePQ, settings: "12 statements a run, no engine", open: openSingle("postgres", "binary_parameters=yes")},
	{
		name: dbosGo,
		settings: "pool of 32; queue: `WithWorkerConcurrency(128)`, polled every 10 ms instead of 1 s; results polled every 50 ms " +
			"instead of 1 s; a limit: `WithGlobalConcurrency(50)`, and as much per worker; partitions: `WithPartitionConcurrency`, without which " +
			"it has none, as wide as the worker, so that it bounds nothing; children: `RunWorkflow` and `GetResult`; signals: `Send`, and `Recv` for an hour at most",
		open: openDBOS, openWorker: openDBOSWorker, openProducer: openDBOSProducer,
	},
	{
		name: goWork,
		settings: "the `monoprocess` backend, which wakes its workers in memory, as in its own benchmark; pool of 32; " +
			"the workers' defaults; its signals are awaited without a time-out",
		open: openGoWorkflows,
	},
	{
		name: riverPGX,
		settings: "`FetchCooldown` 2 ms and `FetchPollInterval` 20 ms, as in its own benchmark; `MaxWorkers` 128; results by `RecordOutput`. " +
			"A limit: `MaxWorkers` 50 in the one process that works; it has none over several processes, and no partitions, in its open edition. " +
			"It completes jobs asynchronously, in batches: a crash repeats those that were not yet. It has no results to await: " +
			"the table is asked every 20 ms whether all are finished",
		openWorker: openRiverPGXWorker, openProducer: openRiverPGXProducer,
	},
	{
		name:       riverPQ,
		settings:   "the same; this driver has no LISTEN, so that it polls",
		openWorker: openRiverSQLWorker, openProducer: openRiverSQLProducer,
	},
}

func contestantNamed(name string) contestant {
	for _, c := range contestants {
		if c.name == name {
			return c
		}
	}
	return contestant{}
}
