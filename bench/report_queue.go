package main

import (
	"fmt"
	"slices"
	"strings"
)

func (w *report) queue() {
	if len(w.of(cellQueue, oursPGX, 0, runsPerSecond)) == 0 {
		return
	}
	w.printf("## A queue\n\n%s runs of one step, started by %d callers of one process while another one works with %d slots; from the first "+
		"start to the last result that the first process sees.\n\n![queued runs per second](queue.svg)\n\n",
		thousands(float64(w.Backlog)), queueCallers, queueSlots)
	w.printf("| | runs/s | starts/s meanwhile | sqlworkflow on pgx is |\n|---|---|---|---|\n")
	for _, c := range contestants {
		if all := w.of(cellQueue, c.name, 0, runsPerSecond); len(all) > 0 {
			w.printf("| %s | %s | %s | %.2f × |\n", c.name, spread(all), plain(w.of(cellQueue, c.name, 0, startsPerSecond)),
				w.ratio(cellQueue, 0, runsPerSecond, oursPGX, c.name))
		}
	}
	w.printf("\n")
	w.queueCosts()
}

// queueCosts writes what processors and memory did, where that was counted.
func (w *report) queueCosts() {
	if !w.counted(cellQueue, serverCPU+perRun) {
		return
	}
	w.printf("| a queued run costs | client CPU, both processes, µs | server CPU, µs | memory of the larger process, MB |\n|---|---|---|---|\n")
	for _, name := range everyQueue() {
		value := func(of string) string { return plain(w.of(cellQueue, name, 0, of)) }
		w.printf("| %s | %s | %s | %s |\n", name, value(clientCPU+perRun), value(serverCPU+perRun), value(peakMB))
	}
	w.printf("\n")
}

// A variant is a queue with a limit or partitions.
type variant struct{ cell, title string }

var variants = []variant{
	{cellNamed, "a queue by name"},
	{cellSlots, fmt.Sprintf("%d slots, no limit", fleetLimit)},
	{cellLimit, fmt.Sprintf("limit of %d", fleetLimit)},
	{cellPartitions, fmt.Sprintf("%d partitions", partitions)},
	{cellBoth, "both"},
}

// cost returns how much of its throughput a contestant keeps with a limit or partitions.
func (r *results) cost(cell, contestant string) float64 {
	if len(r.of(cellNamed, contestant, 0, runsPerSecond)) > 0 {
		return r.times(cell, cellNamed, contestant)
	}
	return r.times(cell, cellQueue, contestant) // it knows no queue without a name
}

// times returns how many times as much a contestant does in a cell of queues as in another one; 0 if one was not measured.
func (r *results) times(cell, other, contestant string) float64 {
	with, without := r.of(cell, contestant, 0, runsPerSecond), r.of(other, contestant, 0, runsPerSecond)
	if len(with) == 0 || len(without) == 0 {
		return 0
	}
	return median(with) / median(without)
}

func (w *report) limits() {
	if !w.measured(cellLimit) {
		return
	}
	w.printf("## A queue with a limit\n\nThe same work and processes. The runs name a queue; it allows %d of them to run at once over all "+
		"processes, or they belong to %d partitions in turn, or both. What comes with fewer runs at once, and not of the limit, shows a "+
		"worker with as many slots and no limit. The ways of River and DBOS Go stand under Settings; River and DBOS Go have a "+
		"quarter of the runs here. \"–\" is what a contestant does not have, or not otherwise than above.\n\n", fleetLimit, partitions)
	w.variants("runs/s with", variants, func(v variant, name string) string { return spread(w.of(v.cell, name, 0, runsPerSecond)) })
	w.variants("runs/s of what the same has without", variants[1:], func(v variant, name string) string { return ratioText(w.cost(v.cell, name)) })
	w.variants("sqlworkflow on pgx has, times as much as", variants[1:], func(v variant, name string) string {
		return ratioText(w.ratio(v.cell, 0, runsPerSecond, oursPGX, name))
	})
}

// variants writes a table with a column for each variant.
func (w *report) variants(title string, columns []variant, cell func(v variant, contestant string) string) {
	titles := make([]string, len(columns))
	for i, v := range columns {
		titles[i] = v.title
	}
	w.printf("| %s | %s |\n|---|%s\n", title, strings.Join(titles, " | "), strings.Repeat("---|", len(columns)))
	for _, name := range everyQueue() {
		texts := make([]string, len(columns))
		for i, v := range columns {
			texts[i] = cell(v, name)
		}
		if slices.ContainsFunc(texts, func(text string) bool { return text != "–" }) {
			w.printf("| %s | %s |\n", name, strings.Join(texts, " | "))
		}
	}
	w.printf("\n")
}

func ratioText(ratio float64) string {
	if ratio == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", ratio)
}

func (w *report) latency() {
	if !w.measured(cellLatency) {
		return
	}
	w.printf("## A run that is alone\n\nOne run of one step at a time, on a system that is idle: after each, nothing is done for %s to %s. "+
		"From when it is about to be started to when its step begins, by the clock of the machine, and to when who started it knows its "+
		"result. Who starts it and who executes it are two processes where it does not say otherwise. River has no results to await: for "+
		"its rows the job is asked for every %s.\n\n", leastRest, mostRest, riverAsks)
	w.printf("| ms | begins, p50 | begins, p99 | result known, p50 | result known, p99 | runs |\n|---|---|---|---|---|---|\n")
	for _, c := range correspondents {
		if len(w.of(cellLatency, c.name, 0, beginsP50)) == 0 {
			continue
		}
		w.printf("| %s |", c.name)
		for _, name := range []string{beginsP50, beginsP99, knownP50, knownP99} {
			w.printf(" %s |", millis(w.of(cellLatency, c.name, 0, name)))
		}
		runs := 0.0
		for _, n := range w.of(cellLatency, c.name, 0, startedRuns) {
			runs += n
		}
		w.printf(" %s |\n", thousands(runs))
	}
	w.printf("\n")
}

// millis formats a median of microseconds.
func millis(all []float64) string { return thousands(median(all) / 1000) }

func (w *report) scaling() {
	if !w.measured(cellScaling) && !w.measured(cellCrowd) {
		return
	}
	w.printf("## Several processes\n\nOne queue, executed by several processes of one machine with %d processors, which the server shares; "+
		"another process starts the runs and awaits them. With steps that take %s and %d slots in each process, a process has at most %.0f "+
		"runs/s, and a limit of %d over all of them allows %.0f; there are %s runs for each process. With steps that take no time and %d slots "+
		"in each, there are %s runs in all.\n\n",
		w.Processors, scalingTakes, scalingSlots, scalingSlots/scalingTakes.Seconds(), fleetLimit, fleetLimit/scalingTakes.Seconds(),
		thousands(float64(w.PerWorker)), queueSlots, thousands(float64(w.Backlog)))
	w.byProcesses("runs/s, by how many processes execute them", runsPerSecond, spread)
	w.byProcesses("server CPU a run, µs", serverCPU+perRun, plain)
	w.byProcesses("client CPU a run, all processes, µs", clientCPU+perRun, plain)
}

func (w *report) byProcesses(title, name string, format func([]float64) string) {
	if !w.counted(cellScaling, name) && !w.counted(cellCrowd, name) {
		return
	}
	w.printf("| %s | %s |\n|---|%s\n", title, join(w.Processes), strings.Repeat("---|", len(w.Processes)))
	for _, row := range []struct{ cell, name, title string }{
		{cellScaling, oursPGX, oursPGX + ", steps of 20 ms"},
		{cellScaling, riverPGX, riverPGX + ", steps of 20 ms"},
		{cellScalingLimit, oursPGX, fmt.Sprintf("%s, steps of 20 ms, limit of %d", oursPGX, fleetLimit)},
		{cellCrowd, oursPGX, oursPGX + ", empty steps"},
		{cellCrowdLimit, oursPGX, fmt.Sprintf("%s, empty steps, limit of %d", oursPGX, fleetLimit)},
	} {
		texts, measured := "", false
		for _, n := range w.Processes {
			all := w.of(row.cell, row.name, n, name)
			measured = measured || len(all) > 0
			texts += " " + format(all) + " |"
		}
		if measured {
			w.printf("| %s |%s\n", row.title, texts)
		}
	}
	w.printf("\n")
}
