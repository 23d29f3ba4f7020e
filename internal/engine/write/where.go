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
		text += fmt.Sprintf(" and has waited to be claimed for %s", until(w.WakeIn))
	}
	switch {
	case w.Workers == 0:
		text += fmt.Sprintf("; no worker is alive to execute workflow %q: is Service.Work running anywhere?", w.Workflow)
	case w.Workers == 1 && w.Serving == 0:
		text += fmt.Sprintf("; the only living worker has not registered workflow %q", w.Workflow)
	case w.Serving == 0:
		text += fmt.Sprintf("; none of the %d living workers has registered workflow %q", w.Workers, w.Workflow)
	}
	return text
}

func until(d *time.Duration) string {
	if d == nil {
		return "?"
	}
	return max(*d, -*d).Round(time.Millisecond).String()
}
