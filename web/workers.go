package web

import (
	"net/http"
	"strings"
	"time"
)

type workersView struct {
	Rows   []workerRow
	Flight []flightRow
}

type workerRow struct {
	ID, Host, Version, Workflows, Queues, Executing string
	PID                                             int
	Alive                                           bool
	Started, Lease                                  moment
}

// A flightRow is a step that has been in flight for long.
type flightRow struct {
	RunID, Step, For, Host, Worker string
	PID                            int
}

// workers shows who executes runs, and what has been in flight there for long.
func (d *dashboard) workers(r *http.Request) (page, error) {
	found, err := d.svc.ListWorkers(r.Context())
	if err != nil {
		return page{}, err
	}
	flight, err := d.svc.StepsInFlight(r.Context(), "")
	if err != nil {
		return page{}, err
	}
	now := time.Now()
	var view workersView
	for _, worker := range found {
		row := workerRow{
			ID: worker.ID, Host: worker.Host, PID: worker.PID, Version: worker.Version, Workflows: strings.Join(worker.Workflows, ", "),
			Queues: queuesServed(worker.Queues), Executing: count(worker.Executing), Alive: worker.Alive,
			Started: momentOf(worker.StartedAt, now), Lease: momentOf(worker.LeaseUntil, now),
		}
		if worker.Executing >= 1000 {
			row.Executing = "1,000+"
		}
		view.Rows = append(view.Rows, row)
	}
	for _, step := range flight[:min(len(flight), flightsShown)] {
		view.Flight = append(view.Flight, flightRow{step.RunID, step.Step, span(step.For), step.Host, step.Worker, step.PID})
	}
	return page{template: "workers", title: "Workers", data: view, live: true}, nil
}

const flightsShown = 100

func queuesServed(queues []string) string {
	if len(queues) == 0 {
		return "all"
	}
	named := make([]string, len(queues))
	for i, queue := range queues {
		if named[i] = queue; queue == "" {
			named[i] = "(no queue)"
		}
	}
	return strings.Join(named, ", ")
}
