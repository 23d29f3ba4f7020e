package engine

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/engine/tick"
	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

const (
	// ticksEvery is how many polls pass between two looks for schedules that are due. Each look tells when the next one is, so only what
	// others have set meanwhile is found that late. While there is no schedule at all, a heartbeat passes between two looks.
	ticksEvery = 4

	// punctual is how late a tick may be without having been missed: as long as a worker needs that takes over from a dead one, and more.
	punctual = time.Minute

	// asideFor is for how long a schedule is left to others that this worker cannot read.
	asideFor = time.Minute
)

// A timekeeper starts the runs of schedules that are due. Every worker has one, and none leads: a tick is one statement, and whose it is
// is decided there. It need not know the workflow.
type timekeeper struct {
	worker   *worker
	early    chan time.Duration // until the next tick
	none     time.Time          // until then nobody looks: there was no schedule
	aside    map[string]time.Time
	told     map[string]bool // schedules that cannot be read here: once each
	unserved map[store.UnservedSchedule]bool
}

func newTimekeeper(w *worker) *timekeeper {
	return &timekeeper{
		worker: w, early: make(chan time.Duration, 1), aside: make(map[string]time.Time), told: make(map[string]bool),
	}
}

// tick starts what is due. One schedule's trouble is not another's.
func (k *timekeeper) tick(ctx context.Context) error {
	if time.Now().Before(k.none) {
		return nil
	}
	maps.DeleteFunc(k.aside, func(_ string, since time.Time) bool { return time.Since(since) > asideFor })
	due, err := k.worker.store.DueSchedules(ctx, slices.Collect(maps.Keys(k.aside)))
	if err != nil {
		return err
	}
	if len(due.Schedules) == 0 && due.NextIn == 0 && len(k.aside) == 0 {
		k.none = time.Now().Add(k.worker.config.Heartbeat)
	}
	k.next(due)
	rand.Shuffle(len(due.Schedules), func(i, j int) { // so that workers that look at once are not all at the same one
		due.Schedules[i], due.Schedules[j] = due.Schedules[j], due.Schedules[i]
	})
	var trouble error
	for _, schedule := range due.Schedules {
		if err := k.tickOne(ctx, schedule, due.Now); err != nil {
			trouble = errors.Join(trouble, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return trouble
}

// next has the duty come again when the next schedule is due.
func (k *timekeeper) next(due store.DueSchedules) {
	in := due.NextIn
	if due.More {
		in = time.Millisecond
	}
	select {
	case <-k.early:
	default:
	}
	k.early <- in
}

func (k *timekeeper) tickOne(ctx context.Context, schedule store.DueSchedule, now time.Time) error {
	w := k.worker
	t, err := plan(schedule, now)
	if err != nil {
		k.leave(schedule, err)
		return nil
	}
	t.Version, t.Dispatched = w.config.Version, w.engine.dispatch.children()
	if !t.At.IsZero() {
		t.Trace = w.engine.observer.Inject(ctx, startEvent(schedule, t))
	}
	ticked, err := w.store.Tick(ctx, t)
	if err != nil || ticked.Kept {
		return err
	}
	if t.Missed > 0 {
		w.engine.observer.Observe(write.Event{Kind: write.TicksMissed, Schedule: schedule.Name, Ticks: t.Missed})
	}
	if ticked.Started {
		w.engine.observer.Observe(write.Event{Kind: write.ScheduleTicked, Schedule: schedule.Name, RunID: t.RunID, Workflow: schedule.Workflow})
	}
	w.engine.ticked(schedule, t, ticked)
	return nil
}

// leave leaves a schedule to other workers, which may have another zone database or know more expressions.
func (k *timekeeper) leave(schedule store.DueSchedule, why error) {
	k.aside[schedule.Name] = time.Now()
	if !k.told[schedule.Name] {
		k.told[schedule.Name] = true
		k.worker.engine.observer.Observe(write.Event{Kind: write.ScheduleUnreadable, Schedule: schedule.Name, Err: why})
	}
}

// ticked tells this process and others of what a tick has written.
func (e *Engine) ticked(schedule store.DueSchedule, t store.Tick, ticked store.Ticked) {
	for _, id := range ticked.Cancelled {
		e.Cancelled(id)
	}
	if ticked.Started {
		e.observer.Observe(startEvent(schedule, t))
	}
	switch {
	case !ticked.Started:
	case t.Delay > 0:
		e.due(t.Delay)
	default:
		e.Created(schedule.Queue, schedule.Workflow)
	}
}

// startEvent is that of the run that a tick starts.
func startEvent(schedule store.DueSchedule, t store.Tick) write.Event {
	return write.Event{Kind: write.RunStarted, RunID: t.RunID, Workflow: schedule.Workflow, Queue: schedule.Queue}
}

// plan says what is to be done about a schedule that is due: of the ticks that have come the newest gets a run, unless it is too old. Pure,
// but for the jitter.
func plan(schedule store.DueSchedule, now time.Time) (store.Tick, error) {
	times, err := Times(schedule.Timing)
	if err != nil {
		return store.Tick{}, err
	}
	newest, before, following := tick.Due(times, schedule.NextAt, now)
	t := store.Tick{Schedule: schedule, Following: following}
	switch {
	case schedule.Paused, newest.Before(schedule.ResumedAt):
		t.Paused = before + 1
	case now.Sub(newest) > max(schedule.CatchUp, punctual):
		t.Missed = before + 1
	default:
		t.Missed, t.At, t.RunID = before, newest, tick.RunID(schedule.Name, newest)
		if schedule.Jitter > 0 {
			t.Delay = rand.N(schedule.Jitter)
		}
	}
	return t, nil
}

// Times returns the ticks of a schedule. Its error says what is wrong with it, here.
func Times(timing store.Timing) (tick.Times, error) {
	if timing.Cron == "" {
		return tick.Every(timing.Every), nil
	}
	return tick.Cron(timing.Cron, timing.Zone)
}

// Trigger starts a run of a schedule by hand, through a store that may be bound to a transaction of the caller's. tell is to be called once
// that has committed.
func (e *Engine) Trigger(ctx context.Context, on *store.Store, name string) (runID string, tell func(), err error) {
	unique, err := uuid.NewV7()
	if err != nil {
		return "", nil, err
	}
	now, err := on.Now(ctx)
	if err != nil {
		return "", nil, err
	}
	t := store.Tick{
		At: now, RunID: name + "/" + unique.String(), Version: e.config.Version, Dispatched: e.dispatch.children(),
		Trace: e.observer.Inject(ctx, write.Event{Kind: write.RunStarted, RunID: name + "/" + unique.String()}),
	}
	schedule, ticked, err := on.Trigger(ctx, name, t)
	return t.RunID, func() { e.ticked(schedule, t, ticked) }, err
}

// reportUnserved warns of schedules whose runs no living worker would claim, once of each for as long as that is so.
func (k *timekeeper) reportUnserved(ctx context.Context) error {
	found, err := k.worker.store.UnservedSchedules(ctx)
	if err != nil {
		return err
	}
	now := make(map[store.UnservedSchedule]bool)
	for _, schedule := range found {
		if now[schedule] = true; !k.unserved[schedule] {
			k.worker.engine.observer.Observe(write.Event{Kind: write.ScheduleUnserved, Schedule: schedule.Name, Workflow: schedule.Workflow})
		}
	}
	k.unserved = now
	return nil
}
