package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"time"
)

// The cells: what is measured.
const (
	cellRuns   = "runs"   // whole runs, started and awaited in one process, by how many there are at a time
	cellSteps  = "steps"  // the steps of a run that is alone
	cellQueue  = "queue"  // runs of one step, started in one process and executed in another
	cellMemory = "memory" // of many runs at once
	cellGrowth = "growth" // whole runs beside many that are finished

	cellNamed      = "queue-named"      // the same, through a queue that has a name
	cellSlots      = "queue-slots"      // and as many slots as the next one has as its limit
	cellLimit      = "queue-limit"      // and a limit over all workers
	cellPartitions = "queue-partitions" // and partitions
	cellBoth       = "queue-both"       // and both
	cellWorker     = "worker"           // another process, which executes runs

	cellLatency      = "latency"       // of a run that is alone
	cellScaling      = "scaling"       // a queue, by how many processes execute it, with steps that take a while
	cellScalingLimit = "scaling-limit" // and a limit
	cellCrowd        = "crowd"         // the same, with steps that take no time
	cellCrowdLimit   = "crowd-limit"   // and a limit
	cellFleet        = "fleet"         // whole runs, by how many processes start and execute them

	cellChildren = "children" // parents and their children, by how many parents there are at a time
	cellSignals  = "signals"  // runs that wait for a signal, get it and end, by how many signals are under way
	cellFanOut   = "fan-out"  // of one parent, beside many finished runs

	cellSleepers = "sleepers" // many that sleep, and new runs beside them when all are due at once
	cellFailures = "failures" // attempts that fail, by how many runs there are at a time

	cellPayload1KB   = "payload-1KB" // whole runs whose steps have results of this size, by how many there are at a time
	cellPayload32KB  = "payload-32KB"
	cellPayload256KB = "payload-256KB"
	cellPayload1MB   = "payload-1MB"
)

// cellNames are all that can be measured.
var cellNames = []string{
	cellRuns, cellSteps, cellQueue, cellMemory, cellGrowth, cellChildren, cellSignals, cellFanOut, cellSleepers, cellFailures,
	cellNamed, cellSlots, cellLimit, cellPartitions, cellBoth, cellLatency, cellScaling, cellScalingLimit, cellCrowd, cellCrowdLimit, cellFleet,
	cellPayload1KB, cellPayload32KB, cellPayload256KB, cellPayload1MB,
}

// A task is what one process is told to measure.
type task struct {
	Cell           string
	For            string `json:",omitempty"` // of a worker: the cell that it works for
	Contestant     string
	URL            string
	Concurrent     int
	Warmup, Window time.Duration
	Count          int    // of steps, runs or children
	Profile        string // file for a CPU profile; none if empty
}

// values are what it answers.
type values map[string]float64

// The names of values.
const (
	runsPerSecond   = "runs/s"
	startsPerSecond = "starts/s"
	p50             = "p50 µs"
	p99             = "p99 µs"
	perRun          = " per run" // after the names of the counters
	inFlightMB      = "in flight MB"
	parkedMB        = "parked MB"

	fanOutWAL        = "fan-out, WAL bytes" // until the parent is parked
	fanOutStatements = "fan-out, statements"
	fanInWAL         = "fan-in, WAL bytes" // of all, until the parent has ended
	fanInStatements  = "fan-in, statements"
)

var cells = map[string]func(context.Context, task) (values, error){
	cellRuns: runRuns, cellGrowth: runRuns, cellSteps: runSteps, cellMemory: runMemory,
	cellQueue: runQueue, cellNamed: runQueue, cellSlots: runQueue, cellLimit: runQueue, cellPartitions: runQueue, cellBoth: runQueue,
	cellScaling: runQueue, cellScalingLimit: runQueue, cellCrowd: runQueue, cellCrowdLimit: runQueue,
	cellWorker: runWorker, cellLatency: runLatency, cellFleet: runFleet,
	cellChildren: runChildren, cellSignals: runSignals, cellFanOut: runFanOut, cellSleepers: runSleepers, cellFailures: runFailures,
	cellPayload1KB: runPayloads, cellPayload32KB: runPayloads, cellPayload256KB: runPayloads, cellPayload1MB: runPayloads,
}

// child does a task that it is given as JSON, and prints the values as JSON.
func child(ctx context.Context, text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	v, err := profiled(ctx, t, cells[t.Cell])
	if err != nil {
		return fmt.Errorf("%s: %s: %w", t.Cell, t.Contestant, err)
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

func profiled(ctx context.Context, t task, do func(context.Context, task) (values, error)) (values, error) {
	if t.Profile == "" {
		return do(ctx, t)
	}
	file, err := os.Create(t.Profile)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	defer pprof.StopCPUProfile()
	return do(ctx, t)
}

// runRuns keeps t.Concurrent runs under way for the warm-up and the window, and counts those that end in the window. It opens when each
// caller has had a run, and stays open for several times as long as one takes: callers that began together may end together.
func runRuns(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, t.Concurrent)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	counters, err := openCounters(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer counters.db.Close()

	type ended struct {
		at   time.Time
		took time.Duration
	}
	runs := make([][]ended, t.Concurrent)
	first := make([]time.Duration, t.Concurrent)
	errs := make([]error, t.Concurrent)
	stop := make(chan struct{})
	var all, warm sync.WaitGroup
	warm.Add(t.Concurrent)
	for i := range runs {
		all.Go(func() {
			for !closed(stop) && errs[i] == nil {
				began := time.Now()
				errs[i] = sys.Run(ctx)
				now := time.Now()
				runs[i] = append(runs[i], ended{now, now.Sub(began)})
				if len(runs[i]) == 1 {
					first[i] = now.Sub(began)
					warm.Done()
				}
			}
		})
	}
	time.Sleep(t.Warmup)
	warm.Wait()
	before, beforeErr := counters.read(ctx)
	from := time.Now()
	time.Sleep(windowFor(t.Window, slices.Max(first)))
	to := time.Now()
	after, afterErr := counters.read(ctx)
	close(stop)
	all.Wait()
	if err := errors.Join(errors.Join(errs...), beforeErr, afterErr); err != nil {
		return nil, err
	}

	var took []time.Duration
	for _, e := range slices.Concat(runs...) {
		if e.at.After(from) && !e.at.After(to) {
			took = append(took, e.took)
		}
	}
	v = percentiles(took)
	v[runsPerSecond], v[peakMB] = float64(len(took))/to.Sub(from).Seconds(), peak()
	v.perRun(before, after, len(took))
	return v, nil
}

// windowFor returns how long the window is for runs that take so long.
func windowFor(least, took time.Duration) time.Duration {
	const times, most = 4, 6
	return min(max(times*took, least), most*least)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func percentiles(took []time.Duration) values {
	v := values{}
	if n := len(took); n > 0 {
		slices.Sort(took)
		v[p50] = float64(took[n/2].Nanoseconds()) / 1000
		v[p99] = float64(took[n*99/100].Nanoseconds()) / 1000
	}
	return v
}

// runSteps times the steps of one run, without the first tenth.
func runSteps(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	counters, err := openCounters(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer counters.db.Close()
	before, beforeErr := counters.read(ctx)
	var took []time.Duration
	if err := sys.(stepper).Steps(ctx, t.Count, func(d time.Duration) { took = append(took, d) }); err != nil {
		return nil, err
	}
	after, afterErr := counters.read(ctx)
	v = percentiles(took[len(took)/10:])
	v[wal] = (after[wal] - before[wal]) / float64(t.Count)
	return v, errors.Join(beforeErr, afterErr)
}

// runMemory measures the heap and stacks of a process with many runs in flight, and with as many parked.
func runMemory(ctx context.Context, t task) (v values, err error) {
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, t.Count)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	h := sys.(holder)
	idle := inUse()
	if err := h.Park(ctx, t.Count); err != nil {
		return nil, err
	}
	parked := inUse()
	release, err := h.Hold(ctx, t.Count)
	held := inUse()
	return values{inFlightMB: held, parkedMB: max(parked-idle, 0)}, errors.Join(err, release())
}

// inUse returns the megabytes of heap and stacks in use.
func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse+m.StackInuse) / 1e6
}

// counters read what the server counts and what processors do, from a connection of their own. Statements of the bench itself are marked, and not counted.
type counters struct {
	db         *sql.DB
	statements bool // pg_stat_statements is there
}

// The names of what the server counts.
const (
	wal            = "WAL bytes"
	written        = "write transactions"
	sentStatements = "statements"
)

func openCounters(ctx context.Context, url string) (counters, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return counters{}, err
	}
	db.SetMaxOpenConns(1)
	c := counters{db: db}
	err = db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')").Scan(&c.statements)
	return c, err
}

func (c counters) read(ctx context.Context) (values, error) {
	var bytes, transactions, calls float64
	err := c.db.QueryRowContext(ctx, `
		SELECT /* bench */ pg_current_wal_insert_lsn() - '0/0', pg_snapshot_xmax(pg_current_snapshot())::text::bigint`).
		Scan(&bytes, &transactions)
	v := values{wal: bytes, written: transactions}
	if c.statements && err == nil {
		err = c.db.QueryRowContext(ctx, `
			SELECT /* bench */ coalesce(sum(calls), 0) FROM pg_stat_statements
			WHERE query NOT LIKE '%/* bench */%'`).Scan(&calls)
		v[sentStatements] = calls
	}
	if err != nil {
		return nil, err
	}
	used, err := c.usage(ctx)
	maps.Copy(v, used)
	return v, err
}

// perRun adds what was counted from before to after, for each of n runs.
func (v values) perRun(before, after values, n int) {
	for name := range after {
		v[name+perRun] = (after[name] - before[name]) / float64(max(n, 1))
	}
}
