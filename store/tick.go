package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/lock"
)

// dueBatch is how many schedules one look returns.
const dueBatch = 100

// DueSchedule is a schedule whose next tick has come, as it was read.
type DueSchedule struct {
	Name, Workflow string
	Timing
	NextAt          time.Time
	CatchUp, Jitter time.Duration
	Overlap         Overlap
	Queue           string
	Paused          bool
	ResumedAt       time.Time // when its last pause ended; zero: never
	LastRunID       string
}

// DueSchedules are those whose next tick has come.
type DueSchedules struct {
	Now       time.Time // of the database
	Schedules []DueSchedule
	More      bool          // there may be more
	NextIn    time.Duration // until the next tick of another one; 0: there is none
}

type dueRow struct {
	Now       int64         `db:"now"`
	Following sql.NullInt64 `db:"following"`
	tickRow
}

// tickRow may be NULL: nothing is due.
type tickRow struct {
	Name      sql.NullString `db:"name"`
	Workflow  sql.NullString `db:"workflow"`
	Cron      sql.NullString `db:"cron"`
	Every     sql.NullInt64  `db:"every"`
	Zone      sql.NullString `db:"zone"`
	NextAt    sql.NullInt64  `db:"next_at"`
	CatchUp   sql.NullInt64  `db:"catch_up"`
	Jitter    sql.NullInt64  `db:"jitter"`
	Overlap   sql.NullString `db:"overlap"`
	Queue     sql.NullString `db:"queue"`
	PausedAt  sql.NullInt64  `db:"paused_at"`
	ResumedAt sql.NullInt64  `db:"resumed_at"`
	LastRunID sql.NullString `db:"last_run_id"`
}

func (r tickRow) schedule() DueSchedule {
	return DueSchedule{
		Name: r.Name.String, Workflow: r.Workflow.String, NextAt: timeOf(r.NextAt),
		Timing:  Timing{Cron: r.Cron.String, Every: milliseconds(r.Every.Int64), Zone: r.Zone.String},
		CatchUp: milliseconds(r.CatchUp.Int64), Jitter: milliseconds(r.Jitter.Int64), Overlap: Overlap(r.Overlap.String),
		Queue: r.Queue.String, Paused: r.PausedAt.Valid, ResumedAt: timeOf(r.ResumedAt), LastRunID: r.LastRunID.String,
	}
}

// Asked by every worker all the time: two descents of an index that has one entry for each schedule.
var dueSchedules = pg.DefineRead("due_schedules", `
	SELECT {now_ms} AS now, later.next_at AS following, due.*
	FROM (SELECT) AS one
	LEFT JOIN LATERAL (
	    SELECT next_at
	    FROM {schema}.workflow_schedules
	    WHERE next_at > {now_ms}
	    ORDER BY next_at
	    LIMIT 1
	) AS later ON true
	LEFT JOIN LATERAL (
	    SELECT `+columnsOf(tickRow{})+`
	    FROM {schema}.workflow_schedules
	    WHERE next_at <= {now_ms} AND name <> ALL ($2::text[])
	    ORDER BY next_at
	    LIMIT $1::bigint
	) AS due ON true`)

// DueSchedules returns the schedules whose next tick has come, but for some, 100 at most, the one first that has waited longest.
func (s *Store) DueSchedules(ctx context.Context, aside []string) (DueSchedules, error) {
	var rows []dueRow
	if err := s.db.List(ctx, &rows, dueSchedules, int64(dueBatch), pg.Texts(aside)); err != nil {
		return DueSchedules{}, pg.Problem("look for schedules that are due", err)
	}
	var due DueSchedules
	for _, row := range rows {
		due.Now = time.UnixMilli(row.Now)
		if row.Following.Valid {
			due.NextIn = time.UnixMilli(row.Following.Int64).Sub(due.Now)
		}
		if row.Name.Valid {
			due.Schedules = append(due.Schedules, row.schedule())
		}
	}
	due.More = len(due.Schedules) == dueBatch
	return due, nil
}

// A Tick is what is made of a schedule that is due: at most one run, for the newest tick that has come.
type Tick struct {
	Schedule   DueSchedule
	At         time.Time // the tick that gets a run; zero: none does
	RunID      string
	Delay      time.Duration
	Version    string // as in NewRun
	Dispatched Dispatched
	Trace      Trace
	Following  time.Time // the next tick; zero: there is none any more
	Missed     int64     // ticks that get none, because they were missed
	Paused     int64     // because the schedule was paused
	ByHand     bool      // it is no tick: an overlap is not counted
}

// Ticked is what has come of a tick.
type Ticked struct {
	Kept      bool // somebody else was there before, or holds the schedule: nothing was written
	Started   bool
	Cancelled []string // runs that were cancelled for it
}

// A tick is one statement: it moves next_at on if that is what was read, with the schedule's row locked, and inserts the run. So there is
// one run for each tick, whoever comes at once, dies or sends this again. The last run is the one that was read as well: else this
// statement might not see it. What somebody else holds is skipped: he ticks, or the next turn does.
//
// A run that is started by hand leaves next_at as it is, and is not counted as a tick if the last run is in its way.
var tickSchedule = pg.Define("tick_schedule", `
	WITH `+clockClause+`, schedule AS MATERIALIZED (
	    SELECT name, workflow, input, deadline, overlap, queue, priority, partition_key
	    FROM {schema}.workflow_schedules
	    WHERE name = $1
	      AND next_at IS NOT DISTINCT FROM $2::bigint
	      AND last_run_id IS NOT DISTINCT FROM $3::text
	      AND (paused_at IS NOT NULL) = $4::boolean
	    FOR NO KEY UPDATE SKIP LOCKED
	), other AS MATERIALIZED (
	    SELECT run.id
	    FROM schedule
	    CROSS JOIN LATERAL (
	        SELECT id
	        FROM {schema}.workflow_runs
	        WHERE id = $3::text AND status IN ('pending', 'running', 'suspended')
	        OFFSET 0
	    ) AS run
	), tick AS MATERIALIZED (
	    SELECT $6::text AS id, workflow, $8::text AS version, input, NULL::text AS worker, $7::bigint AS delay, deadline,
	           NULL::bigint AS gate, NULL::text AS unique_key, $14::jsonb AS meta, queue, priority, partition_key, $9::smallint AS dispatched
	    FROM schedule
	    WHERE $5::bigint IS NOT NULL
	      AND (overlap <> 'skip' OR (SELECT count(*) FROM other) = 0)
	), started AS (
	    `+placedStartText("tick AS start")+`
	    ON CONFLICT DO NOTHING
	    RETURNING run.id
	), told AS (
	    SELECT (SELECT count(*) FROM schedule) AS schedules, (SELECT count(*) FROM tick) AS ticks, (SELECT id FROM started) AS run_id
	), moved AS (
	    UPDATE {schema}.workflow_schedules AS schedule
	    SET next_at = $10::bigint,
	        last_at = CASE WHEN told.run_id IS NULL THEN last_at ELSE $5::bigint END,
	        last_run_id = coalesce(told.run_id, last_run_id),
	        started = started + CASE WHEN told.run_id IS NULL THEN 0 ELSE 1 END,
	        taken = taken + CASE WHEN told.run_id IS NULL THEN told.ticks ELSE 0 END,
	        overlapped = overlapped + CASE WHEN $5::bigint IS NOT NULL AND NOT $13::boolean THEN 1 - told.ticks ELSE 0 END,
	        missed = missed + $11::bigint,
	        paused = paused + $12::bigint
	    FROM clock, told
	    WHERE name = $1 AND told.schedules = 1
	)
	SELECT told.run_id, other.id AS other_id
	FROM schedule
	CROSS JOIN told
	LEFT JOIN other ON true`)

type tickedRow struct {
	RunID   sql.NullString `db:"run_id"`
	OtherID sql.NullString `db:"other_id"`
}

// Tick does what a schedule that is due asks for.
func (s *Store) Tick(ctx context.Context, t Tick) (ticked Ticked, err error) {
	op := fmt.Sprintf("start the runs of schedule %q", t.Schedule.Name)
	if t.At.IsZero() || t.Schedule.Overlap != OverlapCancelOther || t.Schedule.LastRunID == "" {
		ticked, err = s.tick(ctx, t)
		return ticked, pg.Problem(op, err)
	}
	err = s.InTransaction(ctx, op, func(ctx context.Context, s *Store) (err error) {
		ticked, err = s.tick(ctx, t)
		return pg.Problem(op, err)
	})
	if errors.Is(err, errOtherHeld) {
		return Ticked{Kept: true}, nil
	}
	return ticked, err
}

// errOtherHeld undoes a tick whose last run is to be cancelled and is held by others.
var errOtherHeld = errors.New("the last run is held by another transaction")

// tick sends the statement, and cancels the last run if that is asked for: in a transaction.
func (s *Store) tick(ctx context.Context, t Tick) (Ticked, error) {
	var dispatched fields
	t.Dispatched.fill(&dispatched)
	var rows []tickedRow
	err := s.db.List(ctx, &rows, tickSchedule,
		t.Schedule.Name, instant(t.Schedule.NextAt), text(t.Schedule.LastRunID), t.Schedule.Paused,
		instant(t.At), t.RunID, t.Delay.Milliseconds(), text(t.Version), dispatched.arguments[0],
		instant(t.Following), t.Missed, t.Paused, t.ByHand, text(string(t.Trace.meta())))
	if err != nil {
		return Ticked{}, err
	}
	if len(rows) == 0 {
		return Ticked{Kept: true}, nil
	}
	ticked := Ticked{Started: rows[0].RunID.Valid}
	if ticked.Started && rows[0].OtherID.Valid && t.Schedule.Overlap == OverlapCancelOther {
		ticked.Cancelled, err = s.cancelOther(ctx, rows[0].OtherID.String)
	}
	return ticked, err
}

// What others hold of its tree is left to the sweep; if that is the run itself, the tick is undone.
var cancelOther = defineFamilySweep("cancel_other", treeOf, cancels(toldOnly))

func (s *Store) cancelOther(ctx context.Context, id string) (cancelled []string, err error) {
	rows, err := listFamily[changedRun](ctx, s, cancelOther, id)
	if errors.Is(err, ErrRunNotFound) {
		err = errOtherHeld
	}
	return changed(rows), err
}

var lockSchedule = pg.Define("lock_schedule", `
	SELECT `+columnsOf(tickRow{})+`
	FROM {schema}.workflow_schedules
	WHERE name = $1
	FOR NO KEY UPDATE`)

// Trigger starts a run of a schedule by hand, whether it is paused or not: as a tick does, but it moves none. ErrScheduleNotFound, or
// ErrScheduleBusy if the last run is in the way. of says what run.
func (s *Store) Trigger(ctx context.Context, name string, of Tick) (schedule DueSchedule, ticked Ticked, err error) {
	op := fmt.Sprintf("trigger schedule %q", name)
	trigger := func(ctx context.Context, s *Store) error {
		schedule, ticked, err = s.trigger(ctx, name, of)
		return pg.Problem(op, err)
	}
	if s.db.Tx() == nil {
		err = s.InTransaction(ctx, op, trigger)
		return schedule, ticked, err
	}
	return schedule, ticked, trigger(ctx, s)
}

// trigger looks at the last run in a statement of its own: that sees what was committed before the schedule was locked.
func (s *Store) trigger(ctx context.Context, name string, of Tick) (DueSchedule, Ticked, error) {
	var row tickRow
	err := lock.Within(ctx, s.db.Tx(), s.opts.LockTimeout, func(ctx context.Context) error {
		return s.db.Get(ctx, &row, lockSchedule, name)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrScheduleNotFound
	}
	of.Schedule = row.schedule()
	of.Following, of.ByHand = of.Schedule.NextAt, true
	var cancelled []string
	if err == nil && of.Schedule.Overlap == OverlapCancelOther && of.Schedule.LastRunID != "" {
		var finished *TransitionError
		cancelled, err = s.CancelRun(ctx, of.Schedule.LastRunID)
		if errors.Is(err, ErrRunNotFound) || errors.As(err, &finished) {
			err = nil
		}
	}
	if err != nil {
		return DueSchedule{}, Ticked{}, err
	}
	ticked, err := s.tick(ctx, of)
	if err == nil && !ticked.Started {
		err = ErrScheduleBusy
	}
	ticked.Cancelled = cancelled
	return of.Schedule, ticked, err
}
