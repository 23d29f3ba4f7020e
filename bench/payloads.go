package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// payloadSizes are the bytes of JSON of each step's result. The largest one is the default of Config.PayloadLimit.
var payloadSizes = map[string]int{cellPayload1KB: 1 << 10, cellPayload32KB: 32 << 10, cellPayload256KB: 256 << 10, cellPayload1MB: 1 << 20}

// payloadCells are in the order of their sizes.
var payloadCells = []string{cellPayload1KB, cellPayload32KB, cellPayload256KB, cellPayload1MB}

// largeResults are repeated less often than the others.
func (p plan) largeResults() []round {
	var all []round
	for _, cell := range payloadCells {
		for _, n := range p.payloads {
			all = append(all, round{cell: cell, concurrent: n, contestants: []string{oursPGX, oursPQ, singlePGX, dbosGo}, repetitions: 2})
		}
	}
	return all
}

// runPayloads keeps t.Concurrent runs under way, whose steps have large results. Few of them end in the window, so it counts steps.
func runPayloads(ctx context.Context, t task) (v values, err error) {
	stepResult = words(payloadSizes[t.Cell] - len(`""`)) // as JSON it has quotes
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

	errs := make([]error, t.Concurrent)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for !closed(stop) && errs[i] == nil {
				errs[i] = sys.Run(ctx)
			}
		})
	}
	time.Sleep(t.Warmup)
	before, beforeErr := counters.usage(ctx)
	from, begun := time.Now(), stepsBegun.Load()
	time.Sleep(t.Window)
	took, runs := time.Since(from), float64(stepsBegun.Load()-begun)/stepsPerRun
	after, afterErr := counters.usage(ctx)
	v = values{runsPerSecond: runs / took.Seconds(), peakMB: peak()}
	close(stop)
	all.Wait()
	for name, n := range after {
		v[name+perRun] = (n - before[name]) / max(runs, 1)
	}
	return v, errors.Join(errors.Join(errs...), beforeErr, afterErr)
}

// words returns a text of n bytes that compresses about as well as what people store.
func words(n int) string {
	dice := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for text.Len() < n {
		for range 2 + dice.IntN(8) {
			text.WriteByte(byte('a' + dice.IntN(26)))
		}
		text.WriteString(`, and `[:1+dice.IntN(6)])
	}
	return text.String()[:n]
}

func (w *report) payloads() {
	if len(w.Payloads) == 0 || len(w.of(cellPayload1KB, oursPGX, w.Payloads[0], runsPerSecond)) == 0 {
		return
	}
	w.printf("## Large results\n\nWhole runs of ten steps, started and awaited in one process; each step has a text of words as its result. "+
		"For %s, by how many at a time. Memory is what the process had resident at most.\n\n", w.Payload)
	for _, cell := range payloadCells {
		size := strings.TrimPrefix(cell, "payload-")
		w.table(cell, "runs/s, results of "+size, runsPerSecond, w.Payloads, spread)
		w.table(cell, "client CPU a run, µs, results of "+size, clientCPU+perRun, w.Payloads, plain)
		w.table(cell, "server CPU a run, µs, results of "+size, serverCPU+perRun, w.Payloads, plain)
		w.table(cell, "memory, MB, results of "+size, peakMB, w.Payloads, plain)
	}
}
