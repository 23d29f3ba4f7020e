package main

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// What all processes complete is counted once, and what this one takes as many times as there are processes.
func TestFleetCountsForAll(t *testing.T) {
	url := pgtest.New(t).AccessURL(t, pgtest.PGX)
	two := task{Cell: cellFleet, Contestant: oursPGX, URL: url, Concurrent: 2, Warmup: 500 * time.Millisecond, Window: time.Second}
	other, err := beginBusy(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	v, err := runFleet(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if len(other.errs) != fleetRuns/2 || v[runsPerSecond] <= 0 || v[serverCPU+perRun] <= 0 {
		t.Errorf("%d callers: %v", len(other.errs), v)
	}
	// The two are one process here, so its processor time counts twice.
	if most := 2 * 2 * 1e6 * 1.5 / v[runsPerSecond]; v[clientCPU+perRun] <= 0 || v[clientCPU+perRun] > most {
		t.Errorf("client CPU a run %v, at most %v on two processors", v[clientCPU+perRun], most)
	}
	alone := task{Cell: cellFleet, Contestant: oursPGX, URL: url, Concurrent: fleetRuns * 2}
	if b, err := beginBusy(t.Context(), alone); err != nil || len(b.errs) != 1 {
		t.Errorf("%v, %v", b, err)
	} else if err := b.Close(); err != nil {
		t.Error(err)
	}
}
