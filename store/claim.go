package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// ClaimRequest asks for runs that may run now.
type ClaimRequest struct {
	Worker   string           // who is to own them
	Marks    map[string]int64 // by workflow: only runs whose run_at is greater, in Unix milliseconds; 0: a full look
	Limit    int              // runs at most
	Suspects bool             // one of them may be a suspect: a run whose workers died twice without progress
}

// Claim is what a claim found.
type Claim struct {
	Now  int64         // the database's time of the look, Unix milliseconds
	Took time.Duration // the look alone, on the server
	Runs []ClaimedRun
}

// ClaimedRun is a run that now belongs to the worker that claimed it.
type ClaimedRun struct {
	Owned
	Workflow   string
	Input      json.RawMessage
	Deadline   *time.Duration // from the claim on; nil: none
	Begun      bool           // it may have steps
	TakeOvers  int            // deaths of owners since its newest step; from 2 on it is a suspect
	WakeSeq    int64
	RunAt      int64         // by which it was claimed, Unix milliseconds
	Waited     time.Duration // since it might have been claimed
	Suspended  SuspendReason // until it was claimed; "": it was pending
	Trace      Trace
	ParentID   string   // the run that started it; "": none did
	ParentStep string   // the step of its parent that waits for it; "": none does
	Depth      int      // how many ancestors it has
	WaitedFor  []string // until it was claimed, as in Park.WaitsFor
	Place               // of a queue: its end gives back a place there
}

// Suspect reports whether the run's owners have died often enough that the run may be the reason.
func (r ClaimedRun) Suspect() bool { return r.TakeOvers >= suspectFrom }

// Blocked reports whether it was blocked: its record could not be followed before.
func (r ClaimedRun) Blocked() bool { return r.Suspended == ForBlocked }

// CrashLoop reports whether so many of the run's owners have died that it must not be executed once more: its claimer ends it.
func (r ClaimedRun) CrashLoop() bool { return r.TakeOvers >= crashLoopFrom }

const (
	suspectFrom   = 2
	crashLoopFrom = 10
)

// claims is how a run becomes the worker's: the SET list of an UPDATE of workflow_runs AS run, FROM clock and worker. One that is
// announced elsewhere is announced again as soon as it may go on.
const claims = `status = 'running', owner = worker.id, epoch = run.epoch + 1, run_at = NULL, suspended_for = NULL,
	        waits_for = NULL, dispatched_at = run.dispatched_at * 0, updated_at = clock.ms`

// oneSuspect leaves one suspect among those that were picked.
const oneSuspect = `(picked.take_overs < 2 OR picked.id = (SELECT id FROM picked WHERE take_overs >= 2 ORDER BY run_at, id LIMIT 1))`

// claimedColumns are what it returns, FROM picked, the run as it was before. Begun is no EXISTS, which might be planned as a scan
// of all steps into a hash table.
const claimedColumns = `run.id, run.workflow, run.input, run.epoch, run.take_overs, run.wake_seq,
	              run.parent_id, run.parent_step, run.depth, run.queue, run.priority, run.partition_key,
	              run.deadline_at - {now_ms} AS deadline_in, picked.run_at, picked.suspended_for, picked.waits_for, run.meta,
	              {now_ms} - picked.run_at AS waited,
	              run.epoch > 1 OR (SELECT true FROM {schema}.workflow_steps WHERE run_id = run.id LIMIT 1) IS NOT NULL AS begun`

// A claimedRow is scanned from these columns, all NULL when no run was claimed.
type claimedRow struct {
	ID           sql.NullString `db:"id"`
	Workflow     sql.NullString `db:"workflow"`
	Input        pg.JSONB       `db:"input"`
	Epoch        sql.NullInt64  `db:"epoch"`
	TakeOvers    sql.NullInt64  `db:"take_overs"`
	WakeSeq      sql.NullInt64  `db:"wake_seq"`
	Deadline     sql.NullInt64  `db:"deadline_in"`
	RunAt        sql.NullInt64  `db:"run_at"`
	Waited       sql.NullInt64  `db:"waited"`
	SuspendedFor sql.NullString `db:"suspended_for"`
	Meta         pg.JSONB       `db:"meta"`
	WaitsFor     pg.TextArray   `db:"waits_for"`
	Begun        sql.NullBool   `db:"begun"`
	ParentID     sql.NullString `db:"parent_id"`
	ParentStep   sql.NullString `db:"parent_step"`
	Depth        sql.NullInt64  `db:"depth"`
	placeRow
}

func (r claimedRow) claimed() ClaimedRun {
	return ClaimedRun{
		Owned: Owned{RunID: r.ID.String, Epoch: r.Epoch.Int64}, Workflow: r.Workflow.String, Input: json.RawMessage(r.Input),
		Deadline: durationOf(r.Deadline), Begun: r.Begun.Bool, TakeOvers: int(r.TakeOvers.Int64), WakeSeq: r.WakeSeq.Int64,
		RunAt: r.RunAt.Int64, Waited: milliseconds(r.Waited.Int64), Suspended: SuspendReason(r.SuspendedFor.String), Trace: traceOf(r.Meta),
		ParentID: r.ParentID.String, ParentStep: r.ParentStep.String, Depth: int(r.Depth.Int64),
		WaitedFor: r.WaitsFor, Place: r.place(),
	}
}

// A poll that finds nothing locks nothing, takes no transaction id and writes nothing: the worker's row is only locked when
// there is something to claim.
var claimRuns = pg.Define("claim_runs", `
	WITH `+clockClause+`, known AS (
	    SELECT workflow, mark, n
	    FROM unnest((SELECT $2::text[]), (SELECT $3::bigint[])) WITH ORDINALITY AS given (workflow, mark, n)
	), picked AS MATERIALIZED (
	    -- One index scan for each workflow that this worker knows.
	    SELECT run.*
	    FROM known
	    CROSS JOIN LATERAL (
	        SELECT id, run_at, take_overs, suspended_for, waits_for
	        FROM {schema}.workflow_runs
	        WHERE workflow = known.workflow
	          AND queue IS NULL
	          AND dispatched_at IS NULL
	          AND status IN ('pending', 'suspended')
	          AND run_at > known.mark
	          AND run_at <= {now_ms}
	          AND (take_overs < 2 OR $5::boolean)
	        ORDER BY run_at
	        LIMIT $4::bigint
	        FOR NO KEY UPDATE SKIP LOCKED
	    ) AS run
	    LIMIT $4::bigint
	), worker AS (
	    -- Only a worker with a lease may claim.
	    SELECT id
	    FROM {schema}.workflow_workers
	    WHERE id = $1 AND {alive} AND EXISTS (SELECT FROM picked)
	    FOR KEY SHARE
	), claimed AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET `+claims+`
	    FROM clock, picked, worker
	    WHERE run.id = picked.id
	      AND `+oneSuspect+`
	    RETURNING `+claimedColumns+`
	)
	SELECT {now_ms} AS now, (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint AS took, claimed.*
	FROM clock
	LEFT JOIN claimed ON true
	ORDER BY claimed.run_at`)

// Claim makes the worker the owner of up to Limit runs that may run now.
func (s *Store) Claim(ctx context.Context, request ClaimRequest) (Claim, error) {
	workflows, marks := knownWorkflows(request.Marks)
	var rows []struct {
		Now  int64 `db:"now"`
		Took int64 `db:"took"` // µs
		claimedRow
	}
	err := s.db.List(ctx, &rows, claimRuns, request.Worker, workflows, marks, int64(request.Limit), request.Suspects)
	if err != nil {
		return Claim{}, pg.Problem("claim runs", err)
	}
	var claim Claim
	for _, row := range rows {
		claim.Now, claim.Took = row.Now, time.Duration(row.Took)*time.Microsecond
		if row.ID.Valid {
			claim.Runs = append(claim.Runs, row.claimed())
		}
	}
	return claim, nil
}

// knownWorkflows shuffles them: with a limit, the first ones are served first.
func knownWorkflows(all map[string]int64) (workflows, marks string) {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var texts, numbers pg.Array
	for _, name := range names {
		texts.Add(name)
		numbers.Add(all[name])
	}
	return texts.Literal(), numbers.Literal()
}

// OFFSET 0 makes it a look-up for each run. A join would be planned once, for the size that the table has then.
var loadSteps = pg.DefineRead("load_steps", `
	SELECT given.run_id, `+stepColumns+`
	FROM unnest((SELECT $1::text[])) AS given (run_id)
	CROSS JOIN LATERAL (
	    SELECT *
	    FROM {schema}.workflow_steps
	    WHERE run_id = given.run_id
	    OFFSET 0
	) AS step`)

// LoadSteps returns the steps of several runs, by run. It must be a later statement than the claim, to see what the
// owner before wrote. A run that nobody has owned before may have steps of the state API: those that were written while it
// was being claimed are met when the step is checkpointed.
func (s *Store) LoadSteps(ctx context.Context, runIDs []string) (map[string][]Step, error) {
	var rows []struct {
		RunID string `db:"run_id"`
		stepRow
	}
	if err := s.db.List(ctx, &rows, loadSteps, pg.Texts(runIDs)); err != nil {
		return nil, pg.Problem("load steps", err)
	}
	steps := make(map[string][]Step)
	for _, row := range rows {
		steps[row.RunID] = append(steps[row.RunID], row.step(row.RunID))
	}
	return steps, nil
}
