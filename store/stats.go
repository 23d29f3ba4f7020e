package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Stats is the state of a schema at one moment.
type Stats struct {
	Runs      map[RunStatus]int64     // every status is a key
	Suspended map[SuspendReason]int64 // every reason is a key
	Workers   int                     // whose lease has not ended
	Lag       time.Duration           // for how long the oldest run without a queue that may be claimed has been waiting; 0: there is none
}

// One pass over the table: 0.3 s for a million runs of 500 bytes each, in memory. No index holds finished runs, on purpose: it
// would cost each run a write. And the pass that counts them counts the rest too, all in one snapshot.
var getStats = pg.DefineRead("get_stats", `
	SELECT count(*) FILTER (WHERE status = 'pending')   AS pending,
	       count(*) FILTER (WHERE status = 'running')   AS running,
	       count(*) FILTER (WHERE status = 'suspended') AS suspended,
	       count(*) FILTER (WHERE status = 'completed') AS completed,
	       count(*) FILTER (WHERE status = 'failed')    AS failed,
	       count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
	       count(*) FILTER (WHERE suspended_for = 'time')     AS for_time,
	       count(*) FILTER (WHERE suspended_for = 'signal')   AS for_signal,
	       count(*) FILTER (WHERE suspended_for = 'children') AS for_children,
	       count(*) FILTER (WHERE suspended_for = 'by_hand')  AS for_hand,
	       count(*) FILTER (WHERE suspended_for = 'blocked')  AS for_blocked,
	       {now_ms} - min(run_at) FILTER (WHERE status IN ('pending', 'suspended') AND run_at <= {now_ms}
	                                      AND queue IS NULL AND dispatched_at IS NULL) AS lag,
	       (SELECT count(*)
	        FROM {schema}.workflow_workers
	        WHERE {alive}) AS workers
	FROM {schema}.workflow_runs`)

// GetStats counts runs and workers, by the database's clock.
func (s *Store) GetStats(ctx context.Context) (Stats, error) {
	var row struct {
		Pending     int64         `db:"pending"`
		Running     int64         `db:"running"`
		Suspended   int64         `db:"suspended"`
		Completed   int64         `db:"completed"`
		Failed      int64         `db:"failed"`
		Cancelled   int64         `db:"cancelled"`
		ForTime     int64         `db:"for_time"`
		ForSignal   int64         `db:"for_signal"`
		ForChildren int64         `db:"for_children"`
		ForHand     int64         `db:"for_hand"`
		Blocked     int64         `db:"for_blocked"`
		Lag         sql.NullInt64 `db:"lag"`
		Workers     int           `db:"workers"`
	}
	if err := s.db.Get(ctx, &row, getStats); err != nil {
		return Stats{}, pg.Problem("stats", err)
	}
	return Stats{
		Runs: map[RunStatus]int64{
			RunPending: row.Pending, RunRunning: row.Running, RunSuspended: row.Suspended,
			RunCompleted: row.Completed, RunFailed: row.Failed, RunCancelled: row.Cancelled,
		},
		Suspended: map[SuspendReason]int64{
			ForTime: row.ForTime, ForSignal: row.ForSignal, ForChildren: row.ForChildren, ForHand: row.ForHand, ForBlocked: row.Blocked,
		},
		Workers: row.Workers,
		Lag:     time.Duration(row.Lag.Int64) * time.Millisecond,
	}, nil
}
