package web

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sqlworkflow/workflow"
)

type queueRow struct {
	Name, To               string
	Running, Waiting, Lag  string
	Limits                 []string
	Paused                 moment
	Full                   bool
	Changed                moment
	CanPause, CanResume    bool
	FillWidth, FillOfLimit string // how much of the limit is used, in percent; "" without a limit
}

// queues shows what each queue allows, and what is on it.
func (d *dashboard) queues(r *http.Request) (page, error) {
	found, err := d.svc.LookAtQueues(r.Context())
	if err != nil {
		return page{}, err
	}
	now := time.Now()
	rows := make([]queueRow, len(found))
	for i, queue := range found {
		target := Target{Queue: queue.Name}
		row := queueRow{
			Name: queue.Name, To: addressOfList(url.Values{"queue": {queue.Name}}), Running: atLeast(queue, queue.Running), Waiting: atLeast(queue, queue.Waiting),
			Limits: limitsOf(queue.Queue), Paused: momentOf(queue.PausedAt, now), Changed: momentOf(queue.UpdatedAt, now),
			CanPause:  queue.PausedAt.IsZero() && d.options.allows(r, ActionPauseQueue, target),
			CanResume: !queue.PausedAt.IsZero() && d.options.allows(r, ActionResumeQueue, target),
		}
		if queue.Lag > 0 {
			row.Lag = span(queue.Lag)
		}
		if queue.MaxRunning > 0 {
			row.Full = queue.Running >= int64(queue.MaxRunning)
			row.FillWidth = percents(min(100, 100*float64(queue.Running)/float64(queue.MaxRunning)))
			row.FillOfLimit = fmt.Sprintf("%s of %s", row.Running, count(queue.MaxRunning))
		}
		rows[i] = row
	}
	return page{template: "queues", title: "Queues", data: rows, live: true}, nil
}

func limitsOf(queue workflow.Queue) (limits []string) {
	for _, limit := range []struct {
		n    int
		what string
	}{{queue.MaxRunning, "at once"}, {queue.MaxPerWorker, "per worker"}, {queue.MaxPerPartition, "per partition"}} {
		if limit.n > 0 {
			limits = append(limits, fmt.Sprintf("%d %s", limit.n, limit.what))
		}
	}
	if rate := queue.Rate; rate.Count > 0 {
		text := fmt.Sprintf("%d in %s", rate.Count, span(rate.Per))
		if rate.Burst > 1 {
			text += fmt.Sprintf(", %d at once", rate.Burst)
		}
		limits = append(limits, text)
	}
	return limits
}
