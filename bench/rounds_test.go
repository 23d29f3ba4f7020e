package main

import (
	"testing"
	"time"
)

// The whole bench stays what somebody waits for: its measurements are counted. On a quiet machine one took 3.6 s in the mean, of 202 with
// their set-up.
func TestWholePlanIsBounded(t *testing.T) {
	measurements, least := 0, time.Duration(0)
	cells := make(map[string]bool)
	for _, r := range whole.rounds() {
		n := whole.repetitions
		if r.repetitions > 0 {
			n = min(n, r.repetitions)
		}
		n *= len(r.contestants)
		measurements += n
		cells[r.cell] = true
		if r.cell == cellRuns || payloadSizes[r.cell] > 0 {
			least += time.Duration(n) * (whole.warmup + whole.windowOf(r.cell))
		}
	}
	t.Logf("%d measurements; whole runs and large results take %s at least", measurements, least)
	if measurements > 450 || least > 12*time.Minute {
		t.Errorf("%d measurements, %s of windows; want at most 450 and 12 minutes", measurements, least)
	}
	for _, cell := range cellNames {
		if !cells[cell] {
			t.Errorf("the cell %q is not measured", cell)
		}
	}
}

func TestUnknownCellIsRefused(t *testing.T) {
	for only, known := range map[string]bool{"": true, "runs": true, "runs,payload-1MB": true, "run": false, "runs,x": false} {
		if err := (plan{only: only}).knowsCells(); (err == nil) != known {
			t.Errorf("-only %q: %v", only, err)
		}
	}
}
