package engine

import (
	"context"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/notify"
	"github.com/sqlworkflow/workflow/internal/engine/write"
)

// joinOthers makes what this process tells others, and hears of them, by the notifier; nil for neither. Nothing is sent or heard
// before there is a reason to.
func (e *Engine) joinOthers(notifier notify.Notifier, schema string) {
	channel := notify.Channel(schema)
	var send func(context.Context, string) error
	if notifier != nil {
		send = func(ctx context.Context, payload string) error { return e.store.Notify(ctx, channel, payload) }
	}
	e.tell = notify.NewSender(send, func(err error) {
		e.observer.Observe(write.Event{Kind: write.Trouble, Op: "notify other processes", Err: err})
	})
	e.ears = notify.NewListener(notifier, channel, e.tell, notify.DefaultTimes, e.hear, e.observeEars)
}

func (e *Engine) observeEars(s notify.State) {
	kind := write.NotificationsFail
	if s.Hears {
		kind = write.NotificationsArrive
	}
	e.observer.Observe(write.Event{Kind: kind, Err: s.Err, Next: s.Next})
}

// hear does what another process's notice suggests. It asks the database nothing itself: whoever it wakes does.
func (e *Engine) hear(m notify.Message) {
	e.awaits.Heard(m.Runs)
	e.awaits.Heard(m.Lost)
	if m.All {
		e.awaits.HeardAll()
	}
	for _, id := range m.Runs {
		if run := e.holds.Run(id); run != nil {
			run.Woken()
		}
	}
	w := e.working()
	if w == nil {
		return
	}
	lost := m.All
	for _, id := range m.Lost {
		lost = lost || e.holds.Has(id)
	}
	w.hearing.say(hint{work: m.Work, queues: m.Queues, news: m.News || m.All, lost: lost})
}

// heardHere makes whoever awaits a run in this process look, since polls are rare, if they are.
func (e *Engine) heardHere(runID string) {
	if e.ears.Hears() {
		e.awaits.Heard([]string{runID})
	}
}

// tellOf tells of a run that it has ended, or that something has come for it: whoever executes or awaits it looks, and whoever may
// claim it, or one that waited for it.
func (e *Engine) tellOf(runID string) {
	e.tell.Tell(notify.Message{Work: true, Runs: []string{runID}})
}

// Ended tells whoever awaits a run, here or elsewhere, that somebody has ended or deleted it; a run that waited for it may go on.
func (e *Engine) Ended(runID string) {
	e.tellEnded(runID)
	e.Wake()
}

func (e *Engine) tellEnded(runID string) {
	e.heardHere(runID)
	e.tellOf(runID)
}

// tellCreated tells that a run waits to be claimed, in a queue or without one.
func (e *Engine) tellCreated(queue string) {
	e.tell.Tell(notify.Message{Work: queue == NoQueue, Queues: queue != NoQueue})
}

// tellWork tells that runs may be claimed, of whatever queue or without one.
func (e *Engine) tellWork() { e.tell.Tell(notify.Message{Work: true}) }

// due says that a run is to be claimed after a time, which a worker of this process sees to.
func (e *Engine) due(in time.Duration) {
	if w := e.working(); w != nil {
		w.due(in)
	}
}
