package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Overlap is what a tick does whose schedule's last run is not finished.
type Overlap string

// The ways to deal with an overlap.
const (
	OverlapSkip        Overlap = "skip"         // nothing
	OverlapAllow       Overlap = "allow"        // a run is started all the same
	OverlapCancelOther Overlap = "cancel_other" // the last run is cancelled, and one is started
)

// Timing says when a schedule has ticks: what is compared to find out whether that was changed.
type Timing struct {
	Cron  string        // "": Every
	Every time.Duration // to the millisecond
	Zone  string        // of Cron; "": UTC
}

// WorkflowSchedule is a workflow that is started by the clock. What the word means for steps is another thing, see [Schedule].
type WorkflowSchedule struct {
	Name     string
	Workflow string
	Timing
	CatchUp  time.Duration // how old a tick may be that was missed, and still be run; to the millisecond
	Jitter   time.Duration // runs wait for a random time below this; to the millisecond
	Deadline time.Duration // of each run; 0: none
	Overlap  Overlap
	Place
	Input json.RawMessage
}

// Skips are ticks without a run, by their reason.
type Skips struct {
	Missed     int64 `db:"missed"`     // nobody was there in time
	Overlapped int64 `db:"overlapped"` // the last run was not finished
	Paused     int64 `db:"paused"`     // the schedule was paused
	Taken      int64 `db:"taken"`      // there was a run of the tick's id
}

// ScheduleState is a schedule as it stands.
type ScheduleState struct {
	WorkflowSchedule
	PausedAt  time.Time // zero: it is not paused
	NextAt    time.Time // zero: it has no tick any more
	LastAt    time.Time // tick of its last run; zero: none yet
	LastRunID string
	Started   int64
	Skips
	Unserved  bool // no living worker has registered its workflow and serves its queue
	CreatedAt time.Time
	UpdatedAt time.Time
}

// scheduleColumns are what a scheduleRow is scanned from.
var scheduleColumns = columnsOf(scheduleRow{})

type scheduleRow struct {
	timingRow
	Workflow string        `db:"workflow"`
	CatchUp  int64         `db:"catch_up"`
	Jitter   int64         `db:"jitter"`
	Deadline sql.NullInt64 `db:"deadline"`
	Overlap  Overlap       `db:"overlap"`
	placeRow
	Input     pg.JSONB       `db:"input"`
	PausedAt  sql.NullInt64  `db:"paused_at"`
	LastAt    sql.NullInt64  `db:"last_at"`
	LastRunID sql.NullString `db:"last_run_id"`
	Started   int64          `db:"started"`
	Skips
	CreatedAt int64 `db:"created_at"`
	UpdatedAt int64 `db:"updated_at"`
}

// timingRow is what a tick is computed from.
type timingRow struct {
	Name   string         `db:"name"`
	Cron   sql.NullString `db:"cron"`
	Every  sql.NullInt64  `db:"every"`
	Zone   string         `db:"zone"`
	NextAt sql.NullInt64  `db:"next_at"`
}

func (r timingRow) timing() Timing {
	return Timing{Cron: r.Cron.String, Every: milliseconds(r.Every.Int64), Zone: r.Zone}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

var now = pg.DefineRead("now", `
	SELECT {clock_ms}`)

// Now returns the database's time, to the millisecond.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var ms int64
	if err := s.db.Get(ctx, &ms, now); err != nil {
		return time.Time{}, pg.Problem("ask for the time", err)
	}
	return time.UnixMilli(ms), nil
}

const insertSchedule = `
	WITH ` + clockClause + `
	INSERT INTO {schema}.workflow_schedules AS schedule
	    (name, workflow, cron, every, zone, catch_up, jitter, deadline, overlap, queue, priority, partition_key, input, next_at,
	     created_at, updated_at)
	SELECT $1, $2, $3, $4::bigint, $5, $6::bigint, $7::bigint, $8::bigint, $9, $10, $11::smallint, $12, $13::jsonb, $14::bigint,
	       clock.ms, clock.ms
	FROM clock`

// A schedule whose times stay keeps its next tick, which may be due: whoever sets it at each start of a program loses none.
var setSchedule = pg.Define("set_schedule", insertSchedule+`
	ON CONFLICT (name) DO UPDATE
	SET workflow = EXCLUDED.workflow, cron = EXCLUDED.cron, every = EXCLUDED.every, zone = EXCLUDED.zone, catch_up = EXCLUDED.catch_up,
	    jitter = EXCLUDED.jitter, deadline = EXCLUDED.deadline, overlap = EXCLUDED.overlap, queue = EXCLUDED.queue,
	    priority = EXCLUDED.priority, partition_key = EXCLUDED.partition_key, input = EXCLUDED.input, updated_at = EXCLUDED.updated_at,
	    next_at = CASE WHEN (schedule.cron, schedule.every, schedule.zone)
	                        IS NOT DISTINCT FROM (EXCLUDED.cron, EXCLUDED.every, EXCLUDED.zone)
	                   THEN schedule.next_at ELSE EXCLUDED.next_at END`)

// SetSchedule makes a schedule, or changes all of one but whether it is paused and what it has counted. next is its first tick, unless its
// times stay as they are.
func (s *Store) SetSchedule(ctx context.Context, w WorkflowSchedule, next time.Time) error {
	_, err := s.writeSetting(ctx, setSchedule, w.arguments(next)...)
	return pg.Problem(fmt.Sprintf("set schedule %q", w.Name), err)
}

var ensureSchedule = pg.Define("ensure_schedule", insertSchedule+`
	ON CONFLICT (name) DO NOTHING`)

// EnsureSchedule makes a schedule if there is none of this name, and else changes nothing and waits for nobody.
func (s *Store) EnsureSchedule(ctx context.Context, w WorkflowSchedule, next time.Time) error {
	there, err := s.hasSchedule(ctx, w.Name)
	if err == nil && !there {
		_, err = s.writeSetting(ctx, ensureSchedule, w.arguments(next)...)
	}
	return pg.Problem(fmt.Sprintf("ensure schedule %q", w.Name), err)
}

func (w WorkflowSchedule) arguments(next time.Time) []any {
	var place fields
	w.fill(&place, ByClaim)
	return []any{
		w.Name, w.Workflow, text(w.Cron), number(int(w.Every.Milliseconds())), w.Zone, w.CatchUp.Milliseconds(), w.Jitter.Milliseconds(),
		number(int(w.Deadline.Milliseconds())), string(w.Overlap), place.arguments[0], place.arguments[1], place.arguments[2],
		string(w.Input), instant(next),
	}
}

// instant is NULL for zero.
func instant(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UnixMilli()
}

var hasSchedule = pg.DefineRead("has_schedule", `
	SELECT true
	FROM {schema}.workflow_schedules
	WHERE name = $1`)

func (s *Store) hasSchedule(ctx context.Context, name string) (there bool, err error) {
	err = s.db.Get(ctx, &there, hasSchedule, name)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return there, err
}

var pauseSchedule = pg.Define("pause_schedule", `
	WITH `+clockClause+`
	UPDATE {schema}.workflow_schedules
	SET paused_at = coalesce(paused_at, clock.ms), updated_at = clock.ms
	FROM clock
	WHERE name = $1`)

// PauseSchedule keeps ticks from starting runs; ErrScheduleNotFound.
func (s *Store) PauseSchedule(ctx context.Context, name string) error {
	return pg.Problem(fmt.Sprintf("pause schedule %q", name), s.moveSchedule(ctx, pauseSchedule, name))
}

var resumeSchedule = pg.Define("resume_schedule", `
	WITH `+clockClause+`
	UPDATE {schema}.workflow_schedules
	SET resumed_at = CASE WHEN paused_at IS NULL THEN resumed_at ELSE clock.ms END, paused_at = NULL, updated_at = clock.ms
	FROM clock
	WHERE name = $1`)

// ResumeSchedule ends a pause; ErrScheduleNotFound.
func (s *Store) ResumeSchedule(ctx context.Context, name string) error {
	return pg.Problem(fmt.Sprintf("resume schedule %q", name), s.moveSchedule(ctx, resumeSchedule, name))
}

var deleteSchedule = pg.Define("delete_schedule", `
	WITH `+clockClause+`
	DELETE FROM {schema}.workflow_schedules
	USING clock
	WHERE name = $1`)

// DeleteSchedule deletes a schedule; its runs stay. ErrScheduleNotFound.
func (s *Store) DeleteSchedule(ctx context.Context, name string) error {
	return pg.Problem(fmt.Sprintf("delete schedule %q", name), s.moveSchedule(ctx, deleteSchedule, name))
}

func (s *Store) moveSchedule(ctx context.Context, query *pg.Query, name string) error {
	n, err := s.writeSetting(ctx, query, name)
	if err == nil && n == 0 {
		err = ErrScheduleNotFound
	}
	return err
}

func readSchedules(condition string) string {
	return `
	SELECT ` + scheduleColumns + `, NOT EXISTS (
	    SELECT
	    FROM {schema}.workflow_workers
	    WHERE {alive} AND schedule.workflow = ANY (workflows) AND ` + serves("coalesce(schedule.queue, '')") + `
	) AS unserved
	FROM {schema}.workflow_schedules AS schedule
	` + condition
}

type scheduleStateRow struct {
	scheduleRow
	Unserved bool `db:"unserved"`
}

func (r scheduleStateRow) state() ScheduleState {
	return ScheduleState{
		WorkflowSchedule: WorkflowSchedule{
			Name: r.Name, Workflow: r.Workflow, Timing: r.timing(), CatchUp: milliseconds(r.CatchUp), Jitter: milliseconds(r.Jitter),
			Deadline: milliseconds(r.Deadline.Int64), Overlap: r.Overlap, Place: r.place(), Input: json.RawMessage(r.Input),
		},
		PausedAt: timeOf(r.PausedAt), NextAt: timeOf(r.NextAt), LastAt: timeOf(r.LastAt), LastRunID: r.LastRunID.String,
		Started: r.Started, Skips: r.Skips, Unserved: r.Unserved, CreatedAt: time.UnixMilli(r.CreatedAt), UpdatedAt: time.UnixMilli(r.UpdatedAt),
	}
}

var getSchedule = pg.DefineRead("get_schedule", readSchedules("WHERE name = $1"))

// GetSchedule returns a schedule; ErrScheduleNotFound.
func (s *Store) GetSchedule(ctx context.Context, name string) (ScheduleState, error) {
	var row scheduleStateRow
	err := s.db.Get(ctx, &row, getSchedule, name)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrScheduleNotFound
	}
	if err != nil {
		return ScheduleState{}, pg.Problem(fmt.Sprintf("get schedule %q", name), err)
	}
	return row.state(), nil
}

var listSchedules = pg.DefineRead("list_schedules", readSchedules("ORDER BY name"))

// ListSchedules returns all schedules by name.
func (s *Store) ListSchedules(ctx context.Context) ([]ScheduleState, error) {
	var rows []scheduleStateRow
	if err := s.db.List(ctx, &rows, listSchedules); err != nil {
		return nil, pg.Problem("list schedules", err)
	}
	schedules := make([]ScheduleState, len(rows))
	for i, row := range rows {
		schedules[i] = row.state()
	}
	return schedules, nil
}
