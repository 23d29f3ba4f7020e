package web

import (
	"net/http"
	"time"

	"github.com/sqlworkflow/workflow"
)

type scheduleRow struct {
	Name, Workflow, Times, Zone, Overlap, CatchUp string
	Next, Last, Paused                            moment
	LastRun                                       string
	Started                                       string
	Skipped                                       []string // how many ticks for each reason
	Unserved                                      bool
	Queue                                         string
	Input                                         payload
	CanPause, CanResume, CanTrigger               bool
}

// schedules shows when which workflow is started by the clock.
func (d *dashboard) schedules(r *http.Request) (page, error) {
	found, err := d.svc.ListSchedules(r.Context())
	if err != nil {
		return page{}, err
	}
	now := time.Now()
	rows := make([]scheduleRow, len(found))
	for i, schedule := range found {
		target := Target{Schedule: schedule.Name, Workflow: schedule.Workflow, Queue: schedule.Queue}
		paused := !schedule.PausedAt.IsZero()
		row := scheduleRow{
			Name: schedule.Name, Workflow: schedule.Workflow, Times: schedule.Cron, Zone: schedule.Zone, Overlap: overlaps[schedule.Overlap],
			Next: momentOf(schedule.NextAt, now), Last: momentOf(schedule.LastAt, now), Paused: momentOf(schedule.PausedAt, now),
			LastRun: schedule.LastRunID, Started: count(schedule.Started), Skipped: skipsOf(schedule.Skipped), Unserved: schedule.Unserved, Queue: schedule.Queue,
			Input:      payloadOf(schedule.Input, d.options.allows(r, ActionPayloads, target)),
			CanPause:   !paused && d.options.allows(r, ActionPauseSchedule, target),
			CanResume:  paused && d.options.allows(r, ActionResumeSchedule, target),
			CanTrigger: d.options.allows(r, ActionTriggerSchedule, target),
		}
		if schedule.Every > 0 {
			row.Times = "every " + span(schedule.Every)
		}
		if schedule.CatchUp > 0 {
			row.CatchUp = span(schedule.CatchUp)
		}
		rows[i] = row
	}
	return page{template: "schedules", title: "Schedules", data: rows, live: true}, nil
}

var overlaps = map[workflow.Overlap]string{
	workflow.OverlapSkip: "skips while the last run goes on", workflow.OverlapAllow: "starts beside the last run",
	workflow.OverlapCancelOther: "cancels the last run",
}

func skipsOf(skips workflow.Skips) (texts []string) {
	for _, skip := range []struct {
		n   int64
		why string
	}{{skips.Missed, "missed"}, {skips.Overlapped, "overlapped"}, {skips.Paused, "paused"}, {skips.Taken, "taken"}} {
		if skip.n > 0 {
			texts = append(texts, count(skip.n)+" "+skip.why)
		}
	}
	return texts
}
