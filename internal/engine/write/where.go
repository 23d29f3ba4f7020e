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
		text += fmt.Sprintf(" and has waited to be claimed for %s", until(w.WakeIn)) + inQueue(w) + elsewhere(w)
	}
	switch {
	case w.Workers == 0:
		text += fmt.Sprintf("; no worker is alive to execute workflow %q: is Service.Work running anywhere?", w.Workflow)
	case w.Serving > 0:
	case w.Workers == 1:
		text += fmt.Sprintf("; the only living worker has not registered workflow %q", w.Workflow) + orServes(w)
	default:
		text += fmt.Sprintf("; none of the %d living workers has registered workflow %q", w.Workers, w.Workflow) + andServes(w)
	}
	return text
}

// inQueue says why a run that may be claimed is not, as far as its queue is the reason.
func inQueue(w store.Whereabouts) string {
	if w.Queue == "" {
		return ""
	}
	text := fmt.Sprintf(" in queue %q", w.Queue)
	switch room := w.Room; {
	case room == nil:
		text += ", which is not there any more"
	case room.Paused:
		text += ", which is paused"
	case room.MaxRunning > 0 && room.Running >= int64(room.MaxRunning):
		text += fmt.Sprintf(", which is full: %d of at most %d runs are executed", room.Running, room.MaxRunning)
	case room.MaxPerPartition > 0 && room.InPartition >= int64(room.MaxPerPartition):
		text += fmt.Sprintf(", in which partition %q is full: %d of at most %d runs are executed", w.Partition, room.InPartition, room.MaxPerPartition)
	}
	return text
}

// elsewhere says who is to claim a run that workers leave alone.
func elsewhere(w store.Whereabouts) string {
	if !w.Dispatched {
		return ""
	}
	return ": it is left to the consumer of the application's own queue (Service.Execute)"
}

func orServes(w store.Whereabouts) string {
	if w.Queue == "" {
		return ""
	}
	return fmt.Sprintf(", or does not serve queue %q", w.Queue)
}

func andServes(w store.Whereabouts) string {
	if w.Queue == "" {
		return ""
	}
	return fmt.Sprintf(" and serves queue %q", w.Queue)
}

func until(d *time.Duration) string {
	if d == nil {
		return "?"
	}
	return max(*d, -*d).Round(time.Millisecond).String()
}
