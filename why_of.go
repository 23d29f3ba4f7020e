package workflow

import (
	"github.com/sqlworkflow/workflow/store"
)

// whyOf finds the reason in what is known of a run.
func whyOf(w store.Whereabouts) Why {
	why := Why{
		RunID: w.ID, Workflow: w.Workflow, Status: w.Status, Now: w.Now, WaitsFor: w.WaitsFor,
		Queue: w.Queue, Partition: w.Partition, Workers: w.Workers, Serving: w.Serving, Executing: w.Executing,
	}
	switch {
	case w.Status.Finished():
		why.Code, why.Err = WhyFinished, errorOf(w.Err)
	case w.Owner.ID != "":
		why.owned(w)
	case w.SuspendedFor == store.ForBlocked:
		why.Code, why.Err, why.Since, why.Until = WhyBlocked, errorOf(w.Err), w.BlockedAt, w.RunAt
	case w.SuspendedFor == store.ForHand, w.Status == store.RunRunning, w.Status == store.RunPending && w.RunAt.IsZero():
		why.Code = WhyByHand
	case w.MayBeClaimed():
		why.Since = w.RunAt
		why.unclaimed(w)
	default:
		why.waiting(w)
	}
	return why
}

// owned is for a run that a worker executes.
func (y *Why) owned(w store.Whereabouts) {
	y.Worker = WhyWorker(w.Owner)
	switch {
	case !w.Owner.LeaseUntil.After(w.Now):
		y.Code, y.Since = WhyLeaseEnded, w.Owner.LeaseUntil
	case w.InFlight.Step != "":
		y.Code, y.Step, y.Since, y.Count = WhyStepInFlight, w.InFlight.Step, w.InFlight.Since, w.InFlight.Count
	case w.Next.Name != "":
		y.next(w.Next)
		y.Until = w.Next.At
	default:
		y.Code = WhyExecuted
	}
}

// waiting is for a run that nobody may claim yet.
func (y *Why) waiting(w store.Whereabouts) {
	y.Until = w.RunAt
	switch {
	case w.SuspendedFor == store.ForChildren:
		y.Code = WhyChildren
		y.crowd(w.Children)
	case w.SuspendedFor == store.ForTime && w.Next.Name != "":
		y.next(w.Next)
	case w.SuspendedFor == store.ForTime:
		y.Code = WhyAsleep
	case w.Status == store.RunSuspended:
		y.Code = WhySignal
		y.crowd(w.Children) // of another branch
	default:
		y.Code = WhyDelayed
	}
}

func (y *Why) next(step store.NextStep) {
	y.Code, y.Step = WhyAsleep, step.Name
	if step.Attempts != nil && step.Kind != store.SleepStep {
		y.Code, y.Err = WhyRetry, errorOf(step.Err)
		y.Attempt, y.MaxAttempts = step.Attempts.Count+1, step.Attempts.Policy.MaxAttempts
	}
}

// unclaimed is for a run that may be claimed. First comes what somebody has to do, then what passes by itself.
func (y *Why) unclaimed(w store.Whereabouts) {
	room := w.Room
	if room == nil {
		room = &store.QueueRoom{}
	}
	switch {
	case w.Queue != "" && w.Room == nil:
		y.Code = WhyNoQueue
	case !room.PausedAt.IsZero():
		y.Code, y.PausedAt = WhyQueuePaused, room.PausedAt
	case w.Workers == 0 && !w.Dispatched:
		y.Code = WhyNoWorker
	case w.Serving == 0 && !w.Dispatched:
		y.Code = WhyUnserved
	case room.MaxRunning > 0 && room.Running.Count >= room.MaxRunning:
		y.full(WhyQueueFull, room.MaxRunning, room.Running)
	case room.MaxPerPartition > 0 && room.InPartition.Count >= room.MaxPerPartition:
		y.full(WhyPartitionFull, room.MaxPerPartition, room.InPartition)
	case room.MaxPerWorker > 0 && w.Serving > 0 && room.FullWorkers >= w.Serving:
		y.full(WhyWorkersFull, room.MaxPerWorker, room.Running)
	case room.RateAt.After(w.Now):
		y.Code, y.Until = WhyRate, room.RateAt
	case w.Dispatched:
		y.Code, y.AnnouncedAt = WhyAnnounced, w.AnnouncedAt
	default:
		y.Code, y.Count = WhyBehind, w.Ahead
	}
}

func (y *Why) full(code WhyCode, limit int, by store.Crowd) {
	y.Code, y.Limit = code, limit
	y.crowd(by)
}

func (y *Why) crowd(c store.Crowd) {
	y.Count = c.Count
	for _, run := range c.First {
		y.Runs = append(y.Runs, WhyRun(run))
	}
}
