package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Dispatched says who is to find a run that may run now.
type Dispatched int

// Who finds a run, as dispatched_at has it.
const (
	ByClaim     Dispatched = iota // workers, who look for it; NULL
	Unannounced                   // a consumer of the application's queue, once [Store.Announce] has found it; 0
	Announced                     // a consumer, and whoever inserts the run announces it; the time of that
)

// fill gives NULL, 0 or 1: the times when the run is inserted are what the column gets.
func (d Dispatched) fill(row *fields) {
	if d == ByClaim {
		row.null()
		return
	}
	row.number(int64(d - Unannounced))
}

// An AnnounceRequest asks for runs that the application's queue has to be told of.
type AnnounceRequest struct {
	Limit int           // runs at most
	After time.Duration // an announcement that nothing came of is repeated after that
	Mark  int64         // only runs whose run_at is greater, Unix milliseconds; 0: a full look
	Aside []string      // not these

	Again     bool  // look for announcements to repeat, too
	AgainMark int64 // only such as were due after that, Unix milliseconds; 0: a full look
}

// Announcements are the runs to be announced.
type Announcements struct {
	Now int64    // the database's time of the look, Unix milliseconds
	New []Notice // due, and not announced for it
	Old []Notice // announced, and nothing came of it
}

// A Notice is of one run.
type Notice struct {
	RunID string
	DueAt int64 // Unix milliseconds: where the next look may begin
}

// IDs returns the ids of all of them.
func (a Announcements) IDs() []string {
	ids := make([]string, 0, len(a.New)+len(a.Old))
	for _, notices := range [][]Notice{a.New, a.Old} {
		for _, n := range notices {
			ids = append(ids, n.RunID)
		}
	}
	return ids
}

// Repeated is when an announcement is due to be repeated, but for the time that each has at least: after as long as the run had waited when
// it was made. So the pauses double, to an hour in the end, and a queue that is slow does not fill with messages that it has.
const repeated = "dispatched_at + least(dispatched_at - run_at, 3600000)"

// Both looks are index scans of nothing but what they look for. As for a claim, one that finds nothing locks nothing, takes no
// transaction id and writes nothing.
var announceRuns = pg.Define("announce_runs", `
	WITH `+clockClause+`, fresh AS MATERIALIZED (
	    SELECT id, run_at AS due_at
	    FROM {schema}.workflow_runs
	    WHERE dispatched_at < run_at
	      AND status IN ('pending', 'suspended')
	      AND run_at > $2::bigint
	      AND run_at <= {now_ms}
	      AND id <> ALL ($4::text[])
	    ORDER BY run_at
	    LIMIT $1::bigint
	    FOR NO KEY UPDATE SKIP LOCKED
	), stale AS MATERIALIZED (
	    SELECT id, `+repeated+` AS due_at
	    FROM {schema}.workflow_runs
	    WHERE $5::boolean
	      AND dispatched_at >= run_at
	      AND status IN ('pending', 'suspended')
	      AND `+repeated+` > $6::bigint
	      AND `+repeated+` <= {now_ms}
	      AND dispatched_at <= {now_ms} - $3::bigint
	      AND id <> ALL ($4::text[])
	    ORDER BY `+repeated+`
	    LIMIT $1::bigint
	    FOR NO KEY UPDATE SKIP LOCKED
	), found AS (
	    SELECT id, due_at, false AS again FROM fresh
	    UNION ALL
	    SELECT id, due_at, true FROM stale
	), announced AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET dispatched_at = clock.ms
	    FROM clock, found
	    WHERE run.id = found.id
	    RETURNING run.id, found.due_at, found.again
	)
	SELECT {now_ms} AS now, announced.id, announced.due_at, announced.again
	FROM clock
	LEFT JOIN announced ON true
	ORDER BY announced.due_at`)

// Announce notes of runs that are due, and were not announced for it, or long ago, that they are announced now, and returns them. In a
// transaction they stay locked until its end.
func (s *Store) Announce(ctx context.Context, request AnnounceRequest) (Announcements, error) {
	var rows []struct {
		Now   int64          `db:"now"`
		ID    sql.NullString `db:"id"`
		DueAt sql.NullInt64  `db:"due_at"`
		Again sql.NullBool   `db:"again"`
	}
	err := s.db.List(ctx, &rows, announceRuns, int64(request.Limit), request.Mark, request.After.Milliseconds(),
		pg.Texts(request.Aside), request.Again, request.AgainMark)
	if err != nil {
		return Announcements{}, pg.Problem("announce runs", err)
	}
	var found Announcements
	for _, row := range rows {
		found.Now = row.Now
		if !row.ID.Valid {
			continue
		}
		notice := Notice{RunID: row.ID.String, DueAt: row.DueAt.Int64}
		if row.Again.Bool {
			found.Old = append(found.Old, notice)
		} else {
			found.New = append(found.New, notice)
		}
	}
	return found, nil
}

// A run that a transaction of somebody else holds is left as it is.
var takeBackAnnouncements = pg.Define("take_back_announcements", `
	WITH `+clockClause+`, held AS MATERIALIZED (
	    SELECT run.id
	    FROM unnest((SELECT $1::text[])) AS given (id)
	    CROSS JOIN LATERAL (
	        SELECT id
	        FROM {schema}.workflow_runs
	        WHERE id = given.id AND status IN ('pending', 'suspended') AND dispatched_at IS NOT NULL
	        FOR NO KEY UPDATE SKIP LOCKED
	    ) AS run
	)
	UPDATE {schema}.workflow_runs AS run
	SET dispatched_at = 0
	FROM clock, held
	WHERE run.id = held.id`)

// TakeBackAnnouncements notes of runs that they were not announced after all.
func (s *Store) TakeBackAnnouncements(ctx context.Context, runIDs []string) error {
	_, err := s.db.Exec(ctx, takeBackAnnouncements, pg.Texts(runIDs))
	return pg.Problem("take back announcements", err)
}

// InTransaction calls f with the store in a transaction of ours, which commits when f returns nil. It is bounded in time, with all that
// f does, and done again if the server asks for that.
func (s *Store) InTransaction(ctx context.Context, op string, f func(context.Context, *Store) error) error {
	ctx, cancel := s.db.Bound(ctx)
	defer cancel()
	var outcome error // of f, which says what it was about
	err := pg.Resend(ctx, func() error {
		outcome = nil
		return s.db.Transact(ctx, sql.LevelReadCommitted, func(tx *pg.DB) error {
			outcome = f(ctx, s.on(tx.Own()))
			return outcome
		})
	})
	if outcome != nil {
		return pg.Blame(ctx, outcome)
	}
	return pg.Problem(op, pg.Blame(ctx, err))
}
