package main

import "strings"

// peers are who has children and signals too.
var peers = []string{dbosGo, goWork}

// better returns how many times as much the library has as the better of its peers; 0 if not all of them were measured.
func (r *results) better(cell string, concurrent int) float64 {
	least := r.ratio(cell, concurrent, runsPerSecond, oursPGX, peers[0])
	for _, other := range peers[1:] {
		least = min(least, r.ratio(cell, concurrent, runsPerSecond, oursPGX, other))
	}
	return least
}

func (w *report) waiting() {
	w.children()
	w.signals()
	w.fanOut()
	w.failures()
	w.sleepers()
}

// measured tells whether there is anything about a cell.
func (w *report) measured(cell string) bool {
	for _, s := range w.Samples {
		if s.Cell == cell {
			return true
		}
	}
	return false
}

func (w *report) children() {
	if !w.measured(cellChildren) {
		return
	}
	w.printf("## A parent and its children\n\nA parent starts %s children and awaits them all; each is a run of one step, with a result of "+
		"100 bytes. "+
		"Everything in one process, with slots for %d runs. Whoever has the result of a parent starts another one, as long as "+
		"the window is open; the time goes to the end of the last.\n\n", thousands(float64(w.Children)), waitingSlots)
	w.table(cellChildren, "parents/s, by how many at a time", runsPerSecond, w.Waiting, spread)
	w.ratios(cellChildren, "parents/s of sqlworkflow on pgx, of")
	w.table(cellChildren, "a parent takes, p50, µs", p50, w.Waiting, plain)
	w.table(cellChildren, "statements a parent and its children, with BEGIN and COMMIT", sentStatements+perRun, w.Waiting, plain)
	w.table(cellChildren, "commits a parent and its children that wait for the disk", written+perRun, w.Waiting, plain)
	w.table(cellChildren, "bytes of WAL a parent and its children", wal+perRun, w.Waiting, plain)
	w.costs(cellChildren, "a parent and its children", ", with children", w.Waiting)
}

func (w *report) signals() {
	if !w.measured(cellSignals) {
		return
	}
	w.printf("## A signal\n\nA run waits for a signal of 100 bytes, which is its result. Each caller starts a run, sends to the one "+
		"that has waited longest of its %d others, and awaits the result of that. A signal takes from when it is sent to when that "+
		"result is known; the rest is of the whole run: start, wait, signal and end. A run of sqlworkflow that waits for long is parked, "+
		"as a row and nothing else; those of the peers stay in memory.\n\n", waitingRuns)
	w.table(cellSignals, "signals/s, by how many at a time", runsPerSecond, w.Waiting, spread)
	w.ratios(cellSignals, "signals/s of sqlworkflow on pgx, of")
	w.table(cellSignals, "a signal takes, p50, µs", p50, w.Waiting, plain)
	w.table(cellSignals, "a signal takes, p99, µs", p99, w.Waiting, plain)
	w.table(cellSignals, "statements a run with a signal, with BEGIN and COMMIT", sentStatements+perRun, w.Waiting, plain)
	w.table(cellSignals, "commits a run with a signal that wait for the disk", written+perRun, w.Waiting, plain)
	w.table(cellSignals, "bytes of WAL a run with a signal", wal+perRun, w.Waiting, plain)
	w.costs(cellSignals, "a run with a signal", ", with signals", w.Waiting)
}

// ratios writes a row for each peer, and one for the better of them.
func (w *report) ratios(cell, title string) {
	w.printf("| %s | %s |\n|---|%s\n", title, join(w.Waiting), strings.Repeat("---|", len(w.Waiting)))
	row := func(name string, ratio func(concurrent int) float64) {
		w.printf("| %s |", name)
		for _, n := range w.Waiting {
			w.printf(" %.2f |", ratio(n))
		}
		w.printf("\n")
	}
	for _, other := range peers {
		row(other, func(n int) float64 { return w.ratio(cell, n, runsPerSecond, oursPGX, other) })
	}
	row("the better of them", func(n int) float64 { return w.better(cell, n) })
	w.printf("\n")
}

func (w *report) fanOut() {
	if !w.measured(cellFanOut) {
		return
	}
	value := func(name string, format func([]float64) string) string {
		return format(w.of(cellFanOut, grownContestant, 0, name))
	}
	w.printf("## A fan-out\n\nA parent of sqlworkflow with %s children beside %s finished runs with ten steps each, right after a "+
		"checkpoint, when the first change of each page takes its image to the WAL: %s bytes until the children are there and the "+
		"parent is parked, in %s statements. With the children executed and the parent ended: %s bytes, in %s statements.\n\n",
		thousands(float64(w.FanOut)), thousands(float64(w.Finished)), value(fanOutWAL, spread), value(fanOutStatements, plain),
		value(fanInWAL, spread), value(fanInStatements, plain))
}
