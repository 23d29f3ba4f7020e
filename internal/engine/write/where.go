package write

import (
	"fmt"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// describe says in a sentence what a run that has not finished waits for.
func describe(w store.Whereabouts) string {
	text := fmt.Sprintf("the run is %s", w.Status)
	switch {
	case w.Status.Finished():
		return text
	case w.Owner != "" && w.OwnerAlive:
		text += fmt.Sprintf(": worker %s (process %d on %s) executes it", w.Owner, w.OwnerPID, w.OwnerHost)
	case w.Owner != "":
		text += fmt.Sprintf(": its worker %s (process %d on %s) has died, and another one will take it over", w.Owner, w.OwnerPID, w.OwnerHost)
	case w.SuspendedFor == store.ForBlocked:
		text += fmt.Sprintf(": it is blocked, and will be tried again in %s: %s", until(w.WakeIn), w.Err)
	case w.SuspendedFor == store.ForHand, w.Status == store.RunRunning:
		text += " by hand: no worker will claim it"
	case w.WakeIn == nil && len(w.WaitsFor) == 0:
		text += ": it waits for something to come"
	case w.WakeIn == nil:
		text += ": it waits for " + strings.Join(w.WaitsFor, ", ")
	case *w.WakeIn > 0 && len(w.WaitsFor) > 0:
		text += fmt.Sprintf(": it waits for %s, until %s from now", strings.Join(w.WaitsFor, ", "), until(w.WakeIn))
	case *w.WakeIn > 0:
		text += fmt.Sprintf(" until %s from now", until(w.WakeIn))
	default:
		text += fmt.Sprintf(" and has waited to be claimed for %s", until(w.WakeIn)) + inQueue(w)
	}
	switch {
	case w.Workers == 0:
		text += fmt.Sprintf("; no worker is alive to execute workflow %q: is Service.Work running anywhere?", w.Workflow)
	case w.Workers == 1 && w.Knowing == 0:
		text += fmt.Sprintf("; the only living worker has not registered workflow %q", w.Workflow)
	case w.Knowing == 0:
		text += fmt.Sprintf("; none of the %d living workers has registered workflow %q", w.Workers, w.Workflow)
	case w.Serving == 0 && w.Queue == "":
		text += fmt.Sprintf("; no living worker that has registered workflow %q serves runs without a queue (see Config.Serve)", w.Workflow)
	case w.Serving == 0:
		text += fmt.Sprintf("; no living worker that has registered workflow %q serves queue %q (see Config.Serve)", w.Workflow, w.Queue)
	}
	return text
}

// inQueue says why a run that may be claimed is not, as far as its queue is the reason.
func inQueue(w store.Whereabouts) string {
	switch {
	case w.Queue == "":
		return ""
	case w.Paused:
		return fmt.Sprintf(" in queue %q, which is paused", w.Queue)
	case w.MaxRunning > 0 && w.Running >= w.MaxRunning:
		return fmt.Sprintf(" in queue %q, of which %d runs are executed, as many as it allows", w.Queue, w.Running)
	default:
		return fmt.Sprintf(" in queue %q", w.Queue)
	}
}

func until(d *time.Duration) string {
	if d == nil {
		return "?"
	}
	return max(*d, -*d).Round(time.Millisecond).String()
}
