package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// fleetRuns are under way at a time, in all processes together.
const fleetRuns = 128

// runFleet has whole runs executed here as in so many other processes, each of which starts its own and awaits them, and counts for all.
func runFleet(ctx context.Context, t task) (v values, err error) {
	b, err := beginBusy(ctx, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	counters, err := openCounters(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer counters.db.Close()
	read := func() (values, error) {
		var completed float64
		err := counters.db.QueryRowContext(ctx, `
			SELECT /* bench */ count(*) FROM workflows.workflow_runs WHERE status = 'completed'`).Scan(&completed)
		if err != nil {
			return nil, err
		}
		v, err := counters.read(ctx)
		if err == nil {
			v[runsPerSecond] = completed
		}
		return v, err
	}
	time.Sleep(t.Warmup)
	before, beforeErr := read()
	from := time.Now()
	time.Sleep(t.Window)
	after, afterErr := read()
	if err := errors.Join(beforeErr, afterErr); err != nil {
		return nil, err
	}
	runs := after[runsPerSecond] - before[runsPerSecond]
	delete(after, runsPerSecond)
	v = values{runsPerSecond: runs / time.Since(from).Seconds(), peakMB: peak()}
	v.perRun(before, after, int(runs))
	v[clientCPU+perRun] *= float64(t.Concurrent) // all do the same
	return v, nil
}

// busy is a process that keeps its part of the runs under way.
type busy struct {
	sys  system
	stop chan struct{}
	all  sync.WaitGroup
	errs []error
}

func beginBusy(ctx context.Context, t task) (*busy, error) {
	callers := max(fleetRuns/t.Concurrent, 1)
	sys, err := contestantNamed(t.Contestant).open(ctx, t.URL, callers)
	if err != nil {
		return nil, err
	}
	b := &busy{sys: sys, stop: make(chan struct{}), errs: make([]error, callers)}
	for i := range b.errs {
		b.all.Go(func() {
			for !closed(b.stop) && b.errs[i] == nil {
				b.errs[i] = sys.Run(ctx)
			}
		})
	}
	return b, nil
}

func (b *busy) Close() error {
	close(b.stop)
	b.all.Wait()
	return errors.Join(errors.Join(b.errs...), b.sys.Close())
}

func (w *report) fleet() {
	if !w.measured(cellFleet) {
		return
	}
	w.printf("## Whole runs in several processes\n\nThe same runs of ten steps, %d at a time in all, in so many processes with as many each, which "+
		"start their own. What one process writes shares statements; what several do does not.\n\n", fleetRuns)
	w.table(cellFleet, "runs/s, by how many processes", runsPerSecond, w.Processes, spread)
	w.table(cellFleet, "statements a run, by how many processes", sentStatements+perRun, w.Processes, plain)
	w.costs(cellFleet, "a run", ", by how many processes", w.Processes)
}
