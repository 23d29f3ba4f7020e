package main

import (
	"time"

	"github.com/sqlworkflow/workflow"
)

// What top --json prints.
type (
	frameJSON struct {
		At         time.Time                        `json:"at"`
		Runs       map[workflow.RunStatus]int64     `json:"runs"`
		Suspended  map[workflow.SuspendReason]int64 `json:"suspended"`
		LagSeconds float64                          `json:"lag_seconds"`
		Workers    []workerJSON                     `json:"workers"`
		Queues     []queueJSON                      `json:"queues"`
		InFlight   []inFlightOfJSON                 `json:"in_flight"`
		Still      []runJSON                        `json:"still"`
		Failed     []runJSON                        `json:"failed"`
	}
	workerJSON struct {
		ID         string    `json:"id"`
		Host       string    `json:"host,omitempty"`
		PID        int       `json:"pid,omitempty"`
		Version    string    `json:"version,omitempty"`
		Workflows  []string  `json:"workflows"`
		Queues     []string  `json:"queues"` // none: all
		StartedAt  time.Time `json:"started_at"`
		LeaseUntil time.Time `json:"lease_until"`
		Alive      bool      `json:"alive"`
		Executing  int       `json:"executing"`
		InFlight   int       `json:"in_flight"`
	}
	inFlightOfJSON struct {
		RunID string `json:"run_id"`
		inFlightJSON
	}
)

func encodeFrame(f frame) frameJSON {
	encoded := frameJSON{
		At: utc(f.at), Runs: f.stats.Runs, Suspended: f.stats.Suspended, LagSeconds: f.stats.Lag.Seconds(),
		Workers: make([]workerJSON, len(f.workers)), Queues: encodeQueues(f.queues), InFlight: make([]inFlightOfJSON, len(f.inFlight)),
		Still: encodeRuns(f.still), Failed: encodeRuns(f.failed),
	}
	for i := range f.workers {
		w := &f.workers[i]
		encoded.Workers[i] = workerJSON{
			ID: w.ID, Host: w.Host, PID: w.PID, Version: w.Version, Workflows: append([]string{}, w.Workflows...),
			Queues: append([]string{}, w.Queues...), StartedAt: utc(w.StartedAt), LeaseUntil: utc(w.LeaseUntil),
			Alive: w.Alive, Executing: w.Executing, InFlight: w.InFlight,
		}
	}
	for i, s := range f.inFlight {
		encoded.InFlight[i] = inFlightOfJSON{s.RunID, inFlightJSON{Step: s.Step, Since: utc(s.Since), Worker: s.Worker, Host: s.Host, PID: s.PID}}
	}
	return encoded
}
