package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// ClaimAnswer is what became of the claim of one run.
type ClaimAnswer string

// The answers of [Store.ClaimRun].
const (
	RunClaimed ClaimAnswer = "claimed"
	RunUnknown ClaimAnswer = "unknown"  // there is no such run
	RunEnded   ClaimAnswer = "ended"    // it is finished
	RunTaken   ClaimAnswer = "taken"    // it is running
	RunNotDue  ClaimAnswer = "not due"  // it waits for something, or for a time
	RunNoPlace ClaimAnswer = "no place" // its queue is full or paused, or has begun as many runs as its rate allows
	RunMissed  ClaimAnswer = "missed"   // somebody else has locked it, or claims runs of its queue: again soon
	RunForeign ClaimAnswer = "foreign"  // the worker does not know its workflow
	RunSuspect ClaimAnswer = "suspect"  // workers have died of it, perhaps, and it was not asked for such runs
	RunNoLease ClaimAnswer = "no lease" // the worker must not own runs
)

// RunRequest asks for one run.
type RunRequest struct {
	Worker    string // who is to own it
	RunID     string
	Workflows []string // it has to be of one of these
	Suspects  bool     // as in ClaimRequest
}

var claimRun = pg.Define("claim_run", `
	WITH `+queueClock+`, asked AS MATERIALIZED (
	    SELECT ctid AS at, status, queue, partition_key, run_at, take_overs, workflow = ANY ($3::text[]) AS known
	    FROM {schema}.workflow_runs
	    WHERE id = $2
	), `+queueRoom("(SELECT queue FROM asked)", "1", "(SELECT partition_key FROM asked)")+`, chosen AS MATERIALIZED (
	    SELECT asked.at
	    FROM asked
	    LEFT JOIN room ON true
	    WHERE asked.status IN ('pending', 'suspended') AND asked.run_at <= (SELECT ms FROM clock)
	      AND asked.known AND (asked.take_overs < 2 OR $4::boolean)
	      AND (asked.queue IS NULL OR room.n > 0)
	), `+queueTurn("(SELECT queue FROM asked) IS NULL", "", "")+`
	SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed'
	            WHEN asked.status IN ('completed', 'failed', 'cancelled') THEN 'ended'
	            WHEN asked.status = 'running' THEN 'taken'
	            WHEN asked.run_at IS NULL OR asked.run_at > (SELECT ms FROM clock) THEN 'not due'
	            WHEN NOT asked.known THEN 'foreign'
	            WHEN asked.take_overs >= 2 AND NOT $4::boolean THEN 'suspect'
	            WHEN NOT EXISTS (SELECT FROM chosen) THEN 'no place'
	            WHEN asked.queue IS NOT NULL AND NOT EXISTS (SELECT FROM held) THEN 'missed'
	            WHEN NOT EXISTS (SELECT FROM worker) THEN 'no lease'
	            ELSE 'missed'
	       END AS answer, claimed.*
	FROM clock
	CROSS JOIN asked
	LEFT JOIN claimed ON true`)

// ClaimRun makes the worker the owner of one run, if it may run now and the limits of its queue allow it.
func (s *Store) ClaimRun(ctx context.Context, request RunRequest) (ClaimedRun, ClaimAnswer, error) {
	var row struct {
		Answer ClaimAnswer `db:"answer"`
		claimedRow
	}
	err := s.db.Get(ctx, &row, claimRun, request.Worker, request.RunID, pg.Texts(request.Workflows), request.Suspects)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ClaimedRun{}, RunUnknown, nil
	case err != nil:
		return ClaimedRun{}, "", pg.Problem(fmt.Sprintf("claim run %q", request.RunID), err)
	case row.Answer != RunClaimed:
		return ClaimedRun{}, row.Answer, nil
	default:
		return row.claimed(), RunClaimed, nil
	}
}
