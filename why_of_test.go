package workflow

import (
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Where several reasons hold, the one that has to go first is told: first what somebody has to do, then what passes by itself.
func TestWhyTellsWhatHasToGoFirst(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	full := store.Crowd{Count: 3}
	room := func(change func(*store.QueueRoom)) *store.QueueRoom {
		r := &store.QueueRoom{
			Queue: store.Queue{Name: "q", MaxRunning: 3, MaxPerPartition: 3, MaxPerWorker: 3}, PausedAt: now,
			Running: full, InPartition: full, FullWorkers: 2, RateAt: now.Add(1),
		}
		change(r)
		return r
	}
	due := func(change func(*store.Whereabouts)) store.Whereabouts {
		w := store.Whereabouts{Now: now, Status: store.RunPending, RunAt: now, Workers: 3, Serving: 2, Dispatched: true}
		w.Queue = "q"
		change(&w)
		return w
	}
	in := func(change func(*store.QueueRoom)) store.Whereabouts {
		return due(func(w *store.Whereabouts) { w.Room = room(change) })
	}
	owner := store.Owner{ID: "w", LeaseUntil: now.Add(1)}
	flight, next := store.Flight{Step: "a", Count: 1}, store.NextStep{Name: "b", Attempts: &store.Attempts{}}
	for name, test := range map[string]struct {
		where store.Whereabouts
		want  WhyCode
	}{
		"finished, whatever else":    {store.Whereabouts{Status: store.RunFailed, SuspendedFor: store.ForHand, RunAt: now, Now: now}, WhyFinished},
		"a lease that ends now":      {store.Whereabouts{Now: now.Add(1), Status: store.RunRunning, Owner: owner, InFlight: flight}, WhyLeaseEnded},
		"an owner whose row is gone": {store.Whereabouts{Now: now, Status: store.RunRunning, Owner: store.Owner{ID: "w"}, InFlight: flight}, WhyLeaseEnded},
		"in flight before a retry":   {store.Whereabouts{Now: now, Status: store.RunRunning, Owner: owner, InFlight: flight, Next: next}, WhyStepInFlight},
		"blocked, and due":           {store.Whereabouts{Now: now, Status: store.RunSuspended, SuspendedFor: store.ForBlocked, RunAt: now}, WhyBlocked},
		"asleep, but due":            {store.Whereabouts{Now: now, Status: store.RunSuspended, SuspendedFor: store.ForTime, RunAt: now, Workers: 1}, WhyUnserved},
		"a sleep without its step":   {store.Whereabouts{Now: now, Status: store.RunSuspended, SuspendedFor: store.ForTime, RunAt: now.Add(1)}, WhyAsleep},
		"no queue":                   {due(func(*store.Whereabouts) {}), WhyNoQueue},
		"paused before full":         {in(func(*store.QueueRoom) {}), WhyQueuePaused},
		"paused, and nobody serves it": {due(func(w *store.Whereabouts) {
			w.Dispatched, w.Serving, w.Workers, w.Room = false, 0, 0, room(func(*store.QueueRoom) {})
		}), WhyQueuePaused},
		"full, and nobody serves it": {due(func(w *store.Whereabouts) {
			w.Dispatched, w.Serving, w.Room = false, 0, room(func(r *store.QueueRoom) { r.PausedAt = time.Time{} })
		}), WhyUnserved},
		"full before its partition":    {in(func(r *store.QueueRoom) { r.PausedAt = time.Time{} }), WhyQueueFull},
		"its partition before workers": {in(func(r *store.QueueRoom) { r.PausedAt, r.MaxRunning = time.Time{}, 4 }), WhyPartitionFull},
		"workers before the rate":      {in(func(r *store.QueueRoom) { r.PausedAt, r.MaxRunning, r.InPartition.Count = time.Time{}, 0, 2 }), WhyWorkersFull},
		"one worker that is not full": {in(func(r *store.QueueRoom) {
			r.PausedAt, r.MaxRunning, r.MaxPerPartition, r.FullWorkers = time.Time{}, 0, 0, 1
		}), WhyRate},
		"the rate before the message": {in(func(r *store.QueueRoom) { *r = store.QueueRoom{RateAt: now.Add(1)} }), WhyRate},
		"a rate that allows it":       {in(func(r *store.QueueRoom) { *r = store.QueueRoom{RateAt: now} }), WhyAnnounced},
	} {
		if got := whyOf(test.where); got.Code != test.want {
			t.Errorf("%s: %s, want %s", name, got.Code, test.want)
		}
	}
}
