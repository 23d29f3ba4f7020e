package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

const (
	queueCallers = 128 // that start runs and await them
	queueSlots   = 128 // of a worker
	scalingSlots = 16  // of a worker whose steps take a while
	scalingTakes = 20 * time.Millisecond
	fleetLimit   = 50
	partitions   = 100
	queueName    = "bench"
	// Peers have so many times fewer runs where there is a limit or partitions, so that they do not take most of the bench's time.
	fewerForPeers = 4
)

// A queueing is how runs get from the process that starts them to those that execute them. It is the same for every contestant.
type queueing struct {
	slots      int           // of each process
	named      bool          // the runs name a queue; else only where a contestant knows no other way
	atOnce     int           // runs under way at once in all processes; 0: as many as there are slots
	partitions int           // that the runs belong to in turn; 0: none
	takes      time.Duration // of a step; 0: it returns at once
}

var queueings = map[string]queueing{
	cellQueue:        {slots: queueSlots},
	cellNamed:        {slots: queueSlots, named: true},
	cellSlots:        {slots: fleetLimit, named: true},
	cellLimit:        {slots: queueSlots, named: true, atOnce: fleetLimit},
	cellPartitions:   {slots: queueSlots, named: true, partitions: partitions},
	cellBoth:         {slots: queueSlots, named: true, partitions: partitions, atOnce: fleetLimit},
	cellScaling:      {slots: scalingSlots, named: true, takes: scalingTakes},
	cellScalingLimit: {slots: scalingSlots, named: true, takes: scalingTakes, atOnce: fleetLimit},
	cellCrowd:        {slots: queueSlots, named: true},
	cellCrowdLimit:   {slots: queueSlots, named: true, atOnce: fleetLimit},
}

// partition returns to which partition a run belongs; "" if there are none.
func (q queueing) partition(run int) string {
	if q.partitions == 0 {
		return ""
	}
	return "tenant " + strconv.Itoa(run%q.partitions)
}

// here returns how many runs may be under way in one process.
func (q queueing) here() int {
	if q.atOnce == 0 {
		return q.slots
	}
	return min(q.atOnce, q.slots)
}

// runQueue starts runs from many callers, awaits all, and takes the time of the whole.
func runQueue(ctx context.Context, t task) (v values, err error) {
	p, err := contestantNamed(t.Contestant).openProducer(ctx, t.URL, queueings[t.Cell])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	counters, err := openCounters(ctx, t.URL)
	if err != nil {
		return nil, err
	}
	defer counters.db.Close()
	before, beforeErr := counters.read(ctx)
	began := time.Now()
	if err := inParallel(ctx, t.Count, p.Enqueue); err != nil {
		return nil, err
	}
	started := time.Since(began)
	if err := p.AwaitAll(ctx); err != nil {
		return nil, err
	}
	elapsed := time.Since(began)
	after, afterErr := counters.read(ctx)
	n := float64(t.Count)
	v = values{runsPerSecond: n / elapsed.Seconds(), startsPerSecond: n / started.Seconds(), peakMB: peak()}
	v.perRun(before, after, t.Count)
	return v, errors.Join(beforeErr, afterErr)
}

// runWorker executes runs until its input ends, and says when it begins.
func runWorker(ctx context.Context, t task) (values, error) {
	w, err := openWorker(ctx, t)
	if err != nil {
		return nil, err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return values{}, w.Close()
}

func openWorker(ctx context.Context, t task) (closer, error) {
	switch t.For {
	case cellFleet:
		return beginBusy(ctx, t)
	case cellLatency:
		return correspondentNamed(t.Contestant).openWorker(ctx, t.URL)
	}
	q := queueings[t.For]
	stepTakes = q.takes
	return contestantNamed(t.Contestant).openWorker(ctx, t.URL, q)
}
