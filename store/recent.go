package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Recent are the newest runs, in groups.
type Recent struct {
	Now    time.Time
	Groups []RecentRuns
}

// RecentRuns are runs that have these in common.
type RecentRuns struct {
	Workflow     string
	Status       RunStatus
	SuspendedFor SuspendReason
	Ended        time.Time // the beginning of the part of time in which they ended; zero: they have not
	Runs         int
	Oldest       time.Time // creation of the first of them
}

// No index holds ended runs: it would cost each run a write. So the newest ones are read, which stand side by side, up to a bound.
var recentRuns = pg.DefineRead("recent_runs", `
	SELECT clock.ms AS now, recent.*
	FROM (SELECT {now_ms} AS ms OFFSET 0) AS clock
	LEFT JOIN (
	    SELECT workflow, status, suspended_for, ended, count(*) AS runs, min(created_at) AS oldest
	    FROM (
	        SELECT workflow, status, suspended_for, created_at,
	               CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN updated_at - updated_at % $2::bigint END AS ended
	        FROM {schema}.workflow_runs
	        WHERE created_at >= {now_ms} - $1::bigint
	        ORDER BY created_at DESC, id DESC
	        LIMIT $3::bigint
	    ) AS newest
	    GROUP BY workflow, status, suspended_for, ended
	) AS recent ON true`)

// RecentRuns groups the runs that were created within a time, at most so many of the newest, by the part of time in which they ended.
func (s *Store) RecentRuns(ctx context.Context, within, every time.Duration, most int) (Recent, error) {
	var rows []struct {
		Now          int64          `db:"now"`
		Workflow     sql.NullString `db:"workflow"`
		Status       sql.NullString `db:"status"`
		SuspendedFor sql.NullString `db:"suspended_for"`
		Ended        sql.NullInt64  `db:"ended"`
		Runs         sql.NullInt64  `db:"runs"`
		Oldest       sql.NullInt64  `db:"oldest"`
	}
	err := s.db.List(ctx, &rows, recentRuns, within.Milliseconds(), every.Milliseconds(), int64(most))
	if err != nil {
		return Recent{}, pg.Problem("read recent runs", err)
	}
	var recent Recent
	for _, row := range rows {
		recent.Now = time.UnixMilli(row.Now)
		if row.Runs.Valid {
			recent.Groups = append(recent.Groups, RecentRuns{
				Workflow: row.Workflow.String, Status: RunStatus(row.Status.String), SuspendedFor: SuspendReason(row.SuspendedFor.String),
				Ended: timeOf(row.Ended), Runs: int(row.Runs.Int64), Oldest: timeOf(row.Oldest),
			})
		}
	}
	return recent, nil
}
