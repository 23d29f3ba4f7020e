package web

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/sqlworkflow/workflow"
)

// An attention is something that somebody should look at.
type attention struct {
	Kind string // of badge
	Text string
	To   string
}

// A fleet is who works, and on what.
type fleet struct {
	queues    []workflow.QueueState
	workers   []workflow.Worker
	flight    []workflow.StepInFlight
	schedules []workflow.ScheduleState
}

func (d *dashboard) fleet(ctx context.Context) (f fleet, err error) {
	for _, look := range []func() error{
		func() error { f.queues, err = d.svc.LookAtQueues(ctx); return err },
		func() error { f.workers, err = d.svc.ListWorkers(ctx); return err },
		func() error { f.flight, err = d.svc.StepsInFlight(ctx, ""); return err },
		func() error { f.schedules, err = d.svc.ListSchedules(ctx); return err },
	} {
		if err := look(); err != nil {
			return f, err
		}
	}
	return f, nil
}

// stale is how long a lag may be that nobody needs to hear of.
const stale = 10 * time.Minute

// attentions begin with what is worst.
func attentions(f fleet, recent workflow.Recent) (all []attention) {
	add := func(kind, to, text string, args ...any) {
		all = append(all, attention{kind, fmt.Sprintf(text, args...), to})
	}
	alive := 0
	for _, worker := range f.workers {
		switch {
		case worker.Alive:
			alive++
		case worker.Executing > 0:
			add("failed", "workers", "A worker on %s has died with %s, and nobody has taken them over.", worker.Host, plural(worker.Executing, "run"))
		}
	}
	if alive == 0 {
		add("failed", "workers", "No worker is alive: nothing is executed.")
	}
	if n := runsThat(recent, "blocked"); n > 0 {
		add("blocked", addressOfList(runKinds[1].query()), "%s blocked: the code does not match what is recorded.", are(n, "run"))
	}
	if n := runsThat(recent, "failed"); n > 0 {
		add("failed", addressOfList(runKinds[0].query()), "%s failed.", plural(n, "run"))
	}
	for _, schedule := range f.schedules {
		if schedule.Unserved {
			add("blocked", "schedules", "Schedule %q starts runs of %q, which no living worker serves.", schedule.Name, schedule.Workflow)
		}
	}
	for _, queue := range f.queues {
		switch {
		case !queue.PausedAt.IsZero() && queue.Waiting > 0:
			add("blocked", "queues", "Queue %q has been paused for %s, and %s waiting.", queue.Name, span(recent.Now.Sub(queue.PausedAt)), are(int(queue.Waiting), "run"))
		case queue.PausedAt.IsZero() && queue.Lag > stale:
			add("waiting", addressOfList(url.Values{"queue": {queue.Name}}), "Queue %q lags: a run has been waiting for %s.", queue.Name, span(queue.Lag))
		}
	}
	if len(f.flight) > 0 {
		longest := f.flight[0]
		add("running", runURL(longest.RunID), "%s in flight for long. The oldest, %q, for %s.", are(len(f.flight), "step"), longest.Step, span(longest.For))
	}
	return all
}

func are(n int, one string) string {
	if n == 1 {
		return plural(n, one) + " is"
	}
	return plural(n, one) + " are"
}
