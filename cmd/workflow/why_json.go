package main

import (
	"time"

	"github.com/sqlworkflow/workflow"
)

// What why --json prints.
type (
	whyJSON struct {
		RunID       string             `json:"run_id"`
		Workflow    string             `json:"workflow"`
		Status      workflow.RunStatus `json:"status"`
		Code        workflow.WhyCode   `json:"code"`
		Text        string             `json:"text"`
		Commands    []string           `json:"commands"` // that help, or tell more
		Now         time.Time          `json:"now"`
		Since       time.Time          `json:"since,omitzero"`
		ChangedAt   time.Time          `json:"changed_at"` // its row
		Until       time.Time          `json:"until,omitzero"`
		WaitsFor    []string           `json:"waits_for,omitempty"`
		Error       *workflow.Error    `json:"error,omitempty"`
		Step        string             `json:"step,omitempty"`
		Attempt     int                `json:"attempt,omitempty"`
		MaxAttempts int                `json:"max_attempts,omitempty"`
		Worker      *whyWorkerJSON     `json:"worker,omitempty"`
		Queue       string             `json:"queue,omitempty"`
		Partition   string             `json:"partition,omitempty"`
		PausedAt    time.Time          `json:"paused_at,omitzero"`
		AnnouncedAt time.Time          `json:"announced_at,omitzero"`
		Limit       int                `json:"limit,omitempty"`
		Runs        []whyRunJSON       `json:"runs,omitempty"`
		Count       int                `json:"count,omitempty"`
		Workers     int                `json:"workers"`
		Serving     int                `json:"serving"`
		Executing   int                `json:"executing"`
	}
	whyWorkerJSON struct {
		ID         string    `json:"id"`
		Host       string    `json:"host,omitempty"`
		PID        int       `json:"pid,omitempty"`
		Version    string    `json:"version,omitempty"`
		LeaseUntil time.Time `json:"lease_until,omitzero"`
	}
	whyRunJSON struct {
		RunID    string             `json:"run_id"`
		Workflow string             `json:"workflow"`
		Status   workflow.RunStatus `json:"status"`
		Since    time.Time          `json:"since"`
	}
)

func (c *cli) encodeWhy(why reason) whyJSON {
	encoded := whyJSON{
		RunID: why.RunID, Workflow: why.Workflow, Status: why.Status, Code: why.Code, Text: why.String(), Commands: []string{},
		Now: utc(why.Now), ChangedAt: utc(why.changed), Since: utc(why.Since), Until: utc(why.Until), WaitsFor: why.WaitsFor, Error: stored(why.Err),
		Step: why.Step, Attempt: why.Attempt, MaxAttempts: why.MaxAttempts, Queue: why.Queue, Partition: why.Partition,
		PausedAt: utc(why.PausedAt), AnnouncedAt: utc(why.AnnouncedAt), Limit: why.Limit, Count: why.Count,
		Workers: why.Workers, Serving: why.Serving, Executing: why.Executing,
	}
	if w := why.Worker; w.ID != "" {
		encoded.Worker = &whyWorkerJSON{ID: w.ID, Host: w.Host, PID: w.PID, Version: w.Version, LeaseUntil: utc(w.LeaseUntil)}
	}
	for _, run := range why.Runs {
		encoded.Runs = append(encoded.Runs, whyRunJSON{RunID: run.RunID, Workflow: run.Workflow, Status: run.Status, Since: utc(run.Since)})
	}
	for _, advice := range c.advice(why.Why) {
		if advice.command != "" {
			encoded.Commands = append(encoded.Commands, advice.command)
		}
	}
	return encoded
}
