package main

func (w *report) failures() {
	if !w.measured(cellFailures) {
		return
	}
	w.printf("## Attempts that fail\n\nA run has one step, which fails %d times, and is tried again after a millisecond. Runs that ended in the window; "+
		"the rest is of a whole run.\n\n", failuresPerRun)
	w.table(cellFailures, "failed attempts/s, by how many runs at a time", failuresPerSec, w.Waiting, spread)
	w.table(cellFailures, "statements a run that fails, with BEGIN and COMMIT", sentStatements+perRun, w.Waiting, plain)
	w.table(cellFailures, "bytes of WAL a run that fails", wal+perRun, w.Waiting, plain)
}

func (w *report) sleepers() {
	if !w.measured(cellSleepers) {
		return
	}
	w.printf("## Sleepers\n\n%s runs record a step and sleep until they are parked. Then all are due at one time, and in the two seconds after that a "+
		"run of one step starts every %s, however long those before it take: in the process that executes them, and once more, beside as many "+
		"sleepers, from elsewhere, so that a claim has to find it. Parks count from the first start to the last park, wakes from when all are "+
		"due to the last end. The process has %d slots.\n\n", thousands(float64(w.Sleepers)), arrivalPause, waitingSlots)
	w.printf("| | %s | %s |\n|---|---|---|\n", oursPGX, oursPQFast)
	for _, name := range []string{
		parksPerSec, wakesPerSec, sentStatements + perRun, written + perRun, wal + perRun,
		calmP50, calmP99, besideP50, besideP99, knownBeside50, knownBeside99, foundP50, foundP99,
	} {
		format := spread
		if name == sentStatements+perRun || name == written+perRun {
			format = plain
		}
		w.printf("| %s | %s | %s |\n", sleepersLine(name), format(w.of(cellSleepers, oursPGX, 0, name)), format(w.of(cellSleepers, oursPQFast, 0, name)))
	}
	w.printf("\n")
}

// sleepersLine is what the report calls a value.
func sleepersLine(name string) string {
	switch name {
	case sentStatements + perRun:
		return "statements a sleeper until it is parked, with BEGIN and COMMIT"
	case written + perRun:
		return "commits a sleeper until it is parked"
	case wal + perRun:
		return "bytes of WAL a sleeper until it is parked"
	case calmP50, calmP99, besideP50, besideP99, knownBeside50, knownBeside99, foundP50, foundP99:
		return "a new run " + name
	default:
		return name
	}
}
