package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine"
	"github.com/sqlworkflow/workflow/store"
)

// Schedule says when runs of a workflow are started by the clock: the database's, so that it does not matter which process looks. Each tick
// starts one run, with any number of workers, and whatever becomes of them; its id is the schedule's name and the tick in UTC, such as
// "nightly/2026-03-29T01:30:00Z". Any working process starts it, whether it knows the workflow or not.
//
// Of ticks that have passed while nobody worked, the newest is run if it is no older than CatchUp; the others are counted ([Skips]), as is
// every tick that starts nothing. A tick is never late by more than a second or so while
// somebody works, but for the first schedule of all, which is found within some seconds.
type Schedule struct {
	// Name tells schedules apart: at most 200 bytes, not empty.
	Name string

	// Cron is when there is a tick: five fields (minute, hour, day of the month, month, day of the week) as in "30 2 * * MON-FRI", or
	// @hourly, @daily, @weekly, @monthly or @yearly. If both days are restricted, either is enough.
	//
	// When clocks are changed, an expression whose hour begins with * follows the clock on the wall: an hour that is skipped has no ticks,
	// and one that comes twice has them twice. In any other expression each time of day has one tick: a time that is skipped comes as much
	// later as clocks were put forward (2:30 at 3:30), and of a time that comes twice the first one counts.
	Cron string

	// Every is the distance of ticks, instead of Cron: at least a second, in whole milliseconds. They are the whole multiples of it since
	// 1970 in UTC: every ten minutes are 0:00, 0:10, 0:20. Whoever sets it again does not move them.
	Every time.Duration

	// Zone is the time zone of Cron by its name in the zone database, such as "Europe/Berlin". All processes that work need the database: an
	// image without one (scratch, distroless/static) gets it by importing time/tzdata. Defaults to UTC.
	Zone string

	// CatchUp is how old the newest of missed ticks may be and still be run. A tick of less than a minute ago has not been missed.
	// Defaults to 0: a missed tick is counted, and not run.
	CatchUp time.Duration

	// Overlap is what a tick does while the last run of the schedule is not finished. Defaults to OverlapSkip.
	Overlap Overlap

	// Jitter makes each run wait for a random time below it, so that what many schedules start does not begin at once. Defaults to 0.
	Jitter time.Duration
}

// Overlap is what a tick does while the schedule's last run is not finished, whether that was started by a tick or by
// [State.TriggerSchedule].
type Overlap = store.Overlap

// The ways to deal with an overlap.
const (
	OverlapSkip        = store.OverlapSkip        // the tick starts nothing and is counted
	OverlapAllow       = store.OverlapAllow       // it starts a run beside
	OverlapCancelOther = store.OverlapCancelOther // it cancels the last run, as [State.Cancel] does, and starts one
)

// Skips counts the ticks that started no run, by the reason.
type Skips struct {
	Missed     int64 // nobody worked in time, and it was not caught up
	Overlapped int64 // the last run was not finished
	Paused     int64 // the schedule was paused
	Taken      int64 // there was a run with the tick's id, as when a schedule was deleted and made again
}

// ScheduleState is a schedule as it stands. Times are the database's, to the millisecond.
type ScheduleState struct {
	Schedule
	Workflow  string
	Input     json.RawMessage
	Queue     string        // of its runs ([WithQueue]); "": none
	Priority  Priority      // in that queue
	Partition string        // in that queue
	Deadline  time.Duration // of each run ([WithDeadline]); 0: none
	PausedAt  time.Time     // since when its ticks start nothing; zero: it is not paused
	NextAt    time.Time     // its next tick, also while it is paused
	LastAt    time.Time     // the tick of its last run, or when that was triggered; zero: there was none
	LastRunID string        // its last run, which may have been deleted since
	Started   int64         // runs that it has started
	Skipped   Skips
	Unserved  bool // no living worker has registered the workflow and serves the queue: its runs would wait
	CreatedAt time.Time
	UpdatedAt time.Time // when it was set last, or paused or resumed
}

// SetSchedule makes the schedule be as given, with this workflow, input and options: it is created if it is not there, and else all of it
// is replaced. If its times stay (Cron, Every, Zone), so does its next tick, also one that has been missed; else the next is the first one
// from now on. It does not resume a paused schedule. The options hold for each run; [WithDelay] is refused, as Cron and Jitter say when.
//
// In a transaction ([Service.In]) it holds from the commit on. A transaction that has set a schedule and stays open holds up its ticks.
// Whoever sets a schedule waits for another transaction that has: in a transaction for Config.LockTimeout, then ErrLockTimeout, and on the
// service for Config.Timeout, then ErrTimeout. ErrInvalidArgument says what is wrong with the times, ErrQueueNotFound that there is no
// such queue.
func (w *Workflow[In, Out]) SetSchedule(ctx context.Context, on Session, schedule Schedule, in In, options ...RunOption) error {
	s := on.state()
	return s.writeSchedule(ctx, "set schedule", schedule, w.name, in, options, s.store.SetSchedule)
}

// EnsureSchedule creates the schedule if there is none of its name; else it changes nothing, whatever that is. Call it when a program
// starts: it does not undo what an operator has set meanwhile. Otherwise it is [Workflow.SetSchedule].
func (w *Workflow[In, Out]) EnsureSchedule(ctx context.Context, on Session, schedule Schedule, in In, options ...RunOption) error {
	s := on.state()
	return s.writeSchedule(ctx, "ensure schedule", schedule, w.name, in, options, s.store.EnsureSchedule)
}

func (s State) writeSchedule(
	ctx context.Context, op string, schedule Schedule, workflow string, input any, options []RunOption,
	write func(context.Context, store.WorkflowSchedule, time.Time) error,
) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	stored, err := schedule.stored()
	if err != nil {
		return fmt.Errorf("workflow: %s: %w", op, err)
	}
	starts := make([]StartOption, len(options))
	for i, option := range options {
		starts[i] = option
	}
	run, err := s.newRun(ctx, workflow, input, starts)
	if err != nil {
		return err
	}
	if run.Delay != 0 {
		return fmt.Errorf("workflow: %s: %w: WithDelay: Schedule says when runs begin", op, ErrInvalidArgument)
	}
	stored.Workflow, stored.Input, stored.Place, stored.Deadline = workflow, run.Input, run.Place, run.Deadline
	now, err := s.store.Now(ctx)
	if err != nil {
		return err
	}
	times, err := engine.Times(stored.Timing)
	if err != nil {
		return err
	}
	return write(ctx, stored, times.Next(now))
}

// PauseSchedule lets the schedule's ticks start nothing until [State.ResumeSchedule]: they are counted. Runs that it has started go on.
// Pausing a paused schedule is fine. ErrScheduleNotFound; it waits as [Workflow.SetSchedule] does.
func (s State) PauseSchedule(ctx context.Context, name string) error {
	return s.turnSchedule(ctx, "pause schedule", name, s.store.PauseSchedule)
}

// ResumeSchedule ends a pause. Ticks that came before it are not caught up. Resuming a schedule that is not paused is fine.
// ErrScheduleNotFound; it waits as [Workflow.SetSchedule] does.
func (s State) ResumeSchedule(ctx context.Context, name string) error {
	return s.turnSchedule(ctx, "resume schedule", name, s.store.ResumeSchedule)
}

// DeleteSchedule deletes the schedule with what it has counted. Its runs stay and go on. One that is made again under the name starts no
// run for a tick that has one. ErrScheduleNotFound; it waits as [Workflow.SetSchedule] does.
func (s State) DeleteSchedule(ctx context.Context, name string) error {
	return s.turnSchedule(ctx, "delete schedule", name, s.store.DeleteSchedule)
}

func (s State) turnSchedule(ctx context.Context, op, name string, turn func(context.Context, string) error) error {
	if err := s.readySchedule(ctx, op, name); err != nil {
		return err
	}
	return turn(ctx, name)
}

// TriggerSchedule starts a run of the schedule now, also while that is paused, and returns its id. Its ticks stay as they are. With
// OverlapSkip it is ErrScheduleBusy while the last run is not finished; OverlapCancelOther cancels that. ErrScheduleNotFound; it waits as
// [Workflow.SetSchedule] does. In a transaction the run exists if and only if that commits.
func (s State) TriggerSchedule(ctx context.Context, name string) (runID string, err error) {
	if err := s.readySchedule(ctx, "trigger schedule", name); err != nil {
		return "", err
	}
	runID, tell, err := s.engine.Trigger(ctx, s.store, name)
	if err != nil {
		return "", err
	}
	s.then(tell)
	return runID, nil
}

// GetSchedule returns a schedule as it stands, or ErrScheduleNotFound.
func (s State) GetSchedule(ctx context.Context, name string) (ScheduleState, error) {
	if err := s.readySchedule(ctx, "get schedule", name); err != nil {
		return ScheduleState{}, err
	}
	found, err := s.store.GetSchedule(ctx, name)
	if err != nil {
		return ScheduleState{}, err
	}
	return scheduleStateOf(found), nil
}

// ListSchedules returns all schedules as they stand, by name.
func (s State) ListSchedules(ctx context.Context) ([]ScheduleState, error) {
	if err := s.ready(ctx, "list schedules"); err != nil {
		return nil, err
	}
	found, err := s.store.ListSchedules(ctx)
	if err != nil {
		return nil, err
	}
	schedules := make([]ScheduleState, len(found))
	for i := range found {
		schedules[i] = scheduleStateOf(found[i])
	}
	return schedules, nil
}

func (s State) readySchedule(ctx context.Context, op, name string) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	return checkName("schedule name", name, maxScheduleName)
}

// Bounds of a Schedule. A run's id is made from the name.
const (
	maxScheduleName = 200
	minEvery        = time.Second
	maxScheduleTime = 366 * 24 * time.Hour
)

// stored returns a schedule that is valid, without what its runs get.
func (s Schedule) stored() (store.WorkflowSchedule, error) {
	setDefault(&s.Overlap, OverlapSkip)
	if err := s.validate(); err != nil {
		return store.WorkflowSchedule{}, err
	}
	stored := store.WorkflowSchedule{
		Name: s.Name, Timing: store.Timing{Cron: s.Cron, Every: s.Every, Zone: s.Zone}, CatchUp: s.CatchUp, Jitter: s.Jitter, Overlap: s.Overlap,
	}
	if _, err := engine.Times(stored.Timing); err != nil {
		return store.WorkflowSchedule{}, fmt.Errorf("%w: Schedule.Cron is %q, and Zone %q: %w", ErrInvalidArgument, s.Cron, s.Zone, err)
	}
	return stored, nil
}

func (s Schedule) validate() error {
	if err := nameProblem("Schedule.Name", s.Name, maxScheduleName); err != nil {
		return err
	}
	switch s.Overlap {
	case OverlapSkip, OverlapAllow, OverlapCancelOther:
	default:
		return fmt.Errorf("%w: Schedule.Overlap is %q: use OverlapSkip, OverlapAllow or OverlapCancelOther", ErrInvalidArgument, s.Overlap)
	}
	switch {
	case (s.Cron == "") == (s.Every == 0):
		return fmt.Errorf("%w: Schedule has to have either Cron or Every", ErrInvalidArgument)
	case s.Every == 0:
	case s.Zone != "":
		return fmt.Errorf("%w: Schedule.Zone is for Cron; Every counts in UTC", ErrInvalidArgument)
	case s.Every < minEvery:
		return fmt.Errorf("%w: Schedule.Every is %s: use at least %s", ErrInvalidArgument, s.Every, minEvery)
	}
	for _, field := range []struct {
		name  string
		value time.Duration
	}{{"Every", s.Every}, {"CatchUp", s.CatchUp}, {"Jitter", s.Jitter}} {
		if field.value < 0 || field.value > maxScheduleTime || field.value%time.Millisecond != 0 {
			return fmt.Errorf("%w: Schedule.%s is %s: use whole milliseconds, at most %s",
				ErrInvalidArgument, field.name, field.value, maxScheduleTime)
		}
	}
	return nil
}

func scheduleStateOf(s store.ScheduleState) ScheduleState {
	return ScheduleState{
		Schedule: Schedule{
			Name: s.Name, Cron: s.Cron, Every: s.Every, Zone: s.Zone, CatchUp: s.CatchUp, Overlap: s.Overlap, Jitter: s.Jitter,
		},
		Workflow: s.Workflow, Input: s.Input, Queue: s.Queue, Priority: priorityOf(s.Place), Partition: s.Partition, Deadline: s.Deadline,
		PausedAt: s.PausedAt, NextAt: s.NextAt, LastAt: s.LastAt, LastRunID: s.LastRunID, Started: s.Started, Skipped: Skips(s.Skips),
		Unserved: s.Unserved, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}
}
