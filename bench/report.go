package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A report is Markdown in the making.
type report struct {
	*results
	strings.Builder
}

func (r *results) markdown() string {
	w := &report{results: r}
	w.head()
	w.targets()
	w.runs()
	w.steps()
	w.queue()
	w.limits()
	w.latency()
	w.scaling()
	w.fleet()
	w.others()
	w.waiting()
	w.payloads()
	w.settings()
	return w.String()
}

func (w *report) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

func (w *report) head() {
	disturbed := 0
	for _, s := range w.Samples {
		if s.Disturbed {
			disturbed++
		}
	}
	w.printf("# Results of the bench\n\n")
	w.printf("Written by `make bench`, %s, in %s. %d processors (%s), shared by the server and the contestants; %s; %s.\n\n",
		w.Began.Format(time.DateOnly), (time.Duration(w.Seconds) * time.Second).String(), w.Processors, w.Machine, w.Server, w.Go)
	w.printf("Each figure is the median, with the least and the most: of at most %d repetitions (of 2 of %s, of "+
		"waits, limits, latency, several processes and large results); a window of %s each, longer where runs are. The contestants take turns. "+
		"Absolute figures mean nothing on another machine, ratios do. A measurement during which something else needed the "+
		"processors was taken again; disturbed to the end were %d of %d.\n\n", w.Repetitions, strings.Join(lessOften, " and "), w.Window, disturbed, len(w.Samples))
	for _, s := range w.Failed {
		w.printf("%s did not finish its runs in repetition %d of %s %s, although it was tried again, and has no figure of it.\n\n",
			s.Contestant, s.Repetition, s.Cell, orEmpty(s.Concurrent))
	}
	for _, e := range w.Earlier {
		w.printf("Not taken again then, but on %s, of the code of that time, %d times: %s.\n\n",
			e.Began.Format("2006-01-02 15:04"), e.Repetitions, strings.Join(e.Cells, ", "))
	}
}

// A target is a ratio that the library must reach.
type target struct {
	what  string
	want  string
	bound float64
	most  bool // it is an upper bound
	got   float64
	room  float64 // what the limit itself has; 0: not a matter of it
}

func (w *report) targets() {
	runs := func(n int, other string) float64 { return w.ratio(cellRuns, n, runsPerSecond, oursPGX, other) }
	room := func(n int, limit string) float64 { return w.ratio(cellRuns, n, runsPerSecond, limit, dbosGo) }
	queue := func(other string) float64 { return w.ratio(cellQueue, 0, runsPerSecond, oursPGX, other) }
	list := []target{
		{what: "runs/s at 1, of DBOS Go's", want: "≥ 2.2 ×", bound: 2.2, got: runs(1, dbosGo), room: room(1, singlePGX)},
		{what: "runs/s at 32, of DBOS Go's", want: "≥ 7 ×", bound: 7, got: runs(32, dbosGo), room: room(32, groupedPGX)},
		{what: "runs/s at 128, of DBOS Go's", want: "≥ 14 ×", bound: 14, got: runs(128, dbosGo), room: room(128, groupedPGX)},
		{what: "runs/s at 1 on lib/pq, of DBOS Go's", want: "≥ 1.3 ×", bound: 1.3, got: w.ratio(cellRuns, 1, runsPerSecond, oursPQ, dbosGo)},
		{what: "runs/s at 8 on lib/pq, of DBOS Go's", want: "≥ 1.2 ×", bound: 1.2, got: w.ratio(cellRuns, 8, runsPerSecond, oursPQ, dbosGo)},
		{what: "runs/s at 1, of a bare loop of single statements, pgx", want: "≥ 1 / 1.15", bound: 1 / 1.15, got: runs(1, singlePGX)},
		{what: "runs/s at 32, of a bare loop of grouped statements, pgx", want: "≥ 0.8 ×", bound: .8, got: runs(32, groupedPGX)},
		{what: "runs/s at 128, of a bare loop of grouped statements, pgx", want: "≥ 0.8 ×", bound: .8, got: runs(128, groupedPGX)},
		{what: "runs/s at 512, of a bare loop of grouped statements, pgx", want: "≥ 0.7 ×", bound: .7, got: runs(512, groupedPGX)},
		{what: "the same at 1, lib/pq binary_parameters", want: "≥ 1 / 1.15", bound: 1 / 1.15, got: w.ratio(cellRuns, 1, runsPerSecond, oursPQFast, singlePQ)},
		{what: "the same at 32, lib/pq binary_parameters", want: "≥ 0.8 ×", bound: .8, got: w.ratio(cellRuns, 32, runsPerSecond, oursPQFast, groupedPQ)},
		{what: "the same at 128, lib/pq binary_parameters", want: "≥ 0.8 ×", bound: .8, got: w.ratio(cellRuns, 128, runsPerSecond, oursPQFast, groupedPQ)},
		{what: "queue, of DBOS Go's", want: "≥ 8 ×", bound: 8, got: queue(dbosGo)},
		{what: "queue, of River's on pgx", want: "≥ 2.5 ×", bound: 2.5, got: queue(riverPGX)},
		{what: fmt.Sprintf("queue with a limit of %d, of one without", fleetLimit), want: "≥ 0.7 ×", bound: .7, got: w.cost(cellLimit, oursPGX)},
		{what: fmt.Sprintf("the same, of a worker with %d slots and no limit", fleetLimit), want: "≥ 0.7 ×", bound: .7,
			got: w.times(cellLimit, cellSlots, oursPGX)},
		{what: fmt.Sprintf("queue with %d partitions, of one without", partitions), want: "≥ 0.7 ×", bound: .7, got: w.cost(cellPartitions, oursPGX)},
		{what: "queue with both, of one without", want: "≥ 0.7 ×", bound: .7, got: w.cost(cellBoth, oursPGX)},
		{what: "a lone step's p50, of a bare statement's", want: "≤ 1.3 ×", bound: 1.3, most: true, got: w.ratio(cellSteps, 0, p50, oursPGX, singlePGX)},
		{what: "a lone step's WAL, of a bare statement's", want: "≤ 1.25 ×", bound: 1.25, most: true, got: w.ratio(cellSteps, 0, wal, oursPGX, singlePGX)},
		{what: "runs/s on empty tables, of those beside the finished runs", want: "≤ 1.15 ×", bound: 1.15, most: true,
			got: w.ratio(cellGrowth, growthSlots, runsPerSecond, oursPGX, grownContestant)},
		{what: "parents/s at 32, of the better peer's", want: "≥ 5 ×", bound: 5, got: w.better(cellChildren, 32)},
		{what: "signals/s at 32, of the better peer's", want: "≥ 5 ×", bound: 5, got: w.better(cellSignals, 32)},
	}
	if memory := w.of(cellMemory, oursPGX, 0, inFlightMB); len(memory) > 0 {
		list = append(list, target{what: fmt.Sprintf("heap and stacks with %s runs in flight, MB", thousands(float64(w.InFlight))), want: "≤ 150", bound: 150, most: true, got: median(memory)})
	}
	if begins := w.of(cellLatency, oursNotifiedPGX, 0, beginsP50); len(begins) > 0 {
		list = append(list, target{what: "start to work in another process that is idle, with a notifier, p50, ms", want: "≤ 5", bound: 5, most: true,
			got: median(begins) / 1000})
	}
	// 90 µs were asked of a machine on which the bare loop had 58.
	list = append(list, target{what: "client CPU of a run at 128, of a bare loop of grouped statements", want: "≤ 90 / 58", bound: 90. / 58, most: true,
		got: w.ratio(cellRuns, 128, clientCPU+perRun, oursPGX, groupedPGX)})
	w.printf("## What the project asks of itself\n\n| ratio of medians, on pgx unless it says otherwise | wanted | measured | |\n|---|---|---|---|\n")
	for _, t := range list {
		if t.got == 0 {
			continue
		}
		w.printf("| %s | %s | %.2f | %s |\n", t.what, t.want, t.got, t.verdict())
	}
	w.printf("\n")
}

// verdict says whether the target is met. Where the bare loop does not have as much either, the line on that decides.
func (t target) verdict() string {
	switch {
	case t.most && t.got <= t.bound, !t.most && t.got >= t.bound:
		return "yes"
	case t.room > 0 && t.room < t.bound:
		return fmt.Sprintf("no: the bare loop itself has %.2f ×", t.room)
	default:
		return "**no**"
	}
}

// table writes a row for each contestant of a cell, a column for each number of concurrent runs.
func (w *report) table(cell, title, name string, concurrent []int, format func([]float64) string) {
	w.printf("| %s |", title)
	for _, n := range concurrent {
		w.printf(" %d |", n)
	}
	w.printf("\n|---|%s\n", strings.Repeat("---|", len(concurrent)))
	for _, c := range contestants {
		cells, measured := "", false
		for _, n := range concurrent {
			all := w.of(cell, c.name, n, name)
			measured = measured || len(all) > 0
			cells += " " + format(all) + " |"
		}
		if measured {
			w.printf("| %s |%s\n", c.name, cells)
		}
	}
	w.printf("\n")
}

// spread formats a median with the least and the most.
func spread(all []float64) string {
	if len(all) == 0 {
		return "–"
	}
	return fmt.Sprintf("**%s** (%s–%s)", thousands(median(all)), thousands(slices.Min(all)), thousands(slices.Max(all)))
}

func plain(all []float64) string {
	if len(all) == 0 {
		return "–"
	}
	return thousands(median(all))
}

func thousands(v float64) string {
	if v < 100 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func (w *report) runs() {
	if len(w.of(cellRuns, oursPGX, w.Concurrent[0], runsPerSecond)) == 0 {
		return
	}
	w.printf("## Whole runs of ten steps\n\nStarted and awaited in one process; each step has a result of 100 bytes.\n\n" +
		"![runs per second, by how many there are at a time](runs.svg)\n\n")
	w.table(cellRuns, "runs/s, by how many at a time", runsPerSecond, w.Concurrent, spread)
	w.printf("| runs/s of sqlworkflow on pgx, of | %s |\n|---|%s\n", join(w.Concurrent), strings.Repeat("---|", len(w.Concurrent)))
	for _, other := range []string{dbosGo, goWork, singlePGX, groupedPGX, unguarded} {
		w.printf("| %s |", other)
		for _, n := range w.Concurrent {
			w.printf(" %s |", ratioText(w.ratio(cellRuns, n, runsPerSecond, oursPGX, other)))
		}
		w.printf("\n")
	}
	w.printf("\n")
	w.table(cellRuns, "a run takes, p50, µs", p50, w.Concurrent, plain)
	w.table(cellRuns, "a run takes, p99, µs", p99, w.Concurrent, plain)
	w.table(cellRuns, "statements a run, with BEGIN and COMMIT", sentStatements+perRun, w.Concurrent, plain)
	w.table(cellRuns, "commits a run that wait for the disk", written+perRun, w.Concurrent, plain)
	w.table(cellRuns, "bytes of WAL a run", wal+perRun, w.Concurrent, plain)
	w.costs(cellRuns, "a run", "", w.Concurrent)
}

// costs writes tables of what processors and memory did, where that was counted.
func (w *report) costs(cell, of, suffix string, concurrent []int) {
	for _, c := range []struct{ title, name string }{
		{"client CPU " + of + ", µs" + suffix, clientCPU + perRun},
		{"server CPU " + of + ", µs" + suffix, serverCPU + perRun},
		{"memory, MB" + suffix, peakMB},
	} {
		if w.counted(cell, c.name) {
			w.table(cell, c.title, c.name, concurrent, plain)
		}
	}
}

// counted tells whether a cell has a value of that name.
func (w *report) counted(cell, name string) bool {
	return slices.ContainsFunc(w.Samples, func(s sample) bool {
		_, has := s.Values[name]
		return has && s.Cell == cell
	})
}

func join(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, " | ")
}

func (w *report) steps() {
	if len(w.of(cellSteps, oursPGX, 0, p50)) == 0 {
		return
	}
	w.printf("## A lone step\n\nOne run of %s steps, nothing beside it. The bare loop is the guarded INSERT alone.\n\n", thousands(float64(w.Steps)))
	w.printf("| | p50, µs | p99, µs | bytes of WAL |\n|---|---|---|---|\n")
	for _, c := range contestants {
		if all := w.of(cellSteps, c.name, 0, p50); len(all) > 0 {
			w.printf("| %s | %s | %s | %s |\n", c.name, spread(all), spread(w.of(cellSteps, c.name, 0, p99)), plain(w.of(cellSteps, c.name, 0, wal)))
		}
	}
	w.printf("\n")
}

func (w *report) others() {
	if all := w.of(cellMemory, oursPGX, 0, inFlightMB); len(all) > 0 {
		w.printf("## Memory\n\nHeap and stacks of a process of sqlworkflow with %s runs in flight, each in the midst of a step: %s MB, all told. "+
			"As many parked runs added %s MB.\n\n", thousands(float64(w.InFlight)), spread(all), spread(w.of(cellMemory, oursPGX, 0, parkedMB)))
	}
	if all := w.of(cellGrowth, oursPGX, growthSlots, runsPerSecond); len(all) > 0 {
		w.printf("## Growth\n\nWhole runs of ten steps, %d at a time: %s runs/s on empty tables, %s runs/s beside %s finished runs with ten steps each.\n\n",
			growthSlots, spread(all), spread(w.of(cellGrowth, grownContestant, growthSlots, runsPerSecond)), thousands(float64(w.Finished)))
	}
}

func (w *report) settings() {
	w.printf("## Settings\n\nEvery pool has %d connections. The bare loops send the very statements of the library, guard and foreign key included, "+
		"to its schema, on the same driver.\n\n", connections)
	for _, c := range contestants {
		w.printf("- %s: %s.\n", c.name, c.settings)
	}
	if !w.measured(cellLatency) {
		return
	}
	w.printf("\nA run that is alone:\n\n")
	for _, c := range correspondents {
		w.printf("- %s: %s.\n", c.name, c.settings)
	}
}
