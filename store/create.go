package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
	"github.com/sqlworkflow/workflow/lock"
)

// NewRun is what [Store.CreateRun] writes, and a [Write] of the engine.
type NewRun struct {
	ID       string
	Workflow string
	Version  string // of the application, as it calls itself
	Input    json.RawMessage
	Delay    time.Duration // before it may be claimed
	Deadline time.Duration // from its creation on; 0: none
	Owner    string        // the worker that starts it at once, under epoch 1; "": whoever claims it. Not for CreateRun, nor on a queue
	Gate     *lock.Key     // [Store.Gate] of an id that others may create too, so that this does not wait for them: to be written alone; nil: nobody will
	Place
	Attributes Attributes
	Trace      Trace
	Unique     string // while a run of the workflow with this key is unfinished, there is no other; to be written alone; "": none
	Dispatched Dispatched
}

// A run that has nothing but what every run has costs no more for the others.
func (r NewRun) kind() int {
	if r.Queue != "" || r.Unique != "" || r.Dispatched != ByClaim || len(r.Attributes) > 0 || len(r.Trace) > 0 {
		return placedStartKind
	}
	return startKind
}

func (r NewRun) size() int { return len(r.Input) }

func (r NewRun) fill(row *fields) {
	row.text(r.ID)
	row.text(r.Workflow)
	row.textOrNull(r.Version)
	row.json(r.Input)
	row.textOrNull(r.Owner)
	row.number(r.Delay.Milliseconds())
	if r.Deadline != 0 {
		row.number(r.Deadline.Milliseconds())
	} else {
		row.null()
	}
	if r.Gate != nil {
		row.number(int64(*r.Gate))
	} else {
		row.null()
	}
	if r.kind() == placedStartKind {
		row.json(r.Attributes.json())
		row.textOrNull(r.Unique)
		row.json(r.Trace.meta())
		r.Place.fill(row, r.Dispatched)
	}
}

var (
	starts = kind{
		name: "start_run", op: "create run", given: "start", runID: "id",
		fields:  startFields,
		written: "started", key: "id", write: startText("start", "", ""),
		alone: `
WHERE {gate}
ON CONFLICT (id) DO NOTHING`,
		certain: true,
	}
	placedStarts = kind{
		name: "start_placed_run", op: "create run", given: "placed", runID: "id",
		fields:  startFields + ", attributes jsonb, unique_key text, meta jsonb, " + placeFields,
		written: "placed_started", key: "id", write: placedStartText("placed AS start"),
		after: startAttributes,
		// The id or the key may be there.
		alone: `
WHERE {gate}
ON CONFLICT DO NOTHING`,
	}
)

const startFields = "id text, workflow text, version text, input jsonb, worker text, delay bigint, deadline bigint, gate bigint"

func placedStartText(from string) string {
	return startText(from, ", unique_key, meta, queue, priority, partition_key, dispatched_at", `,
       start.unique_key, start.meta, start.queue, start.priority, start.partition_key, start.dispatched * clock.ms`)
}

// As for a claim, only a worker with a lease may own the run. Else the run waits for a claim, at an epoch beyond the one under
// which its starter, which does not know yet, takes it for its own.
func startText(from, columns, values string) string {
	return `
INSERT INTO {schema}.workflow_runs AS run
    (id, workflow, status, input, created_at, updated_at, owner, epoch, run_at, deadline_at, version` + columns + `)
SELECT start.id, start.workflow, CASE WHEN worker.id IS NULL THEN 'pending' ELSE 'running' END, start.input, clock.ms, clock.ms,
       worker.id, CASE WHEN start.worker IS NULL THEN 0 ELSE 1 END,
       CASE WHEN worker.id IS NULL THEN least(clock.ms + start.delay, clock.ms + start.deadline) END,
       clock.ms + start.deadline, start.version` + values + `
FROM clock
CROSS JOIN ` + from + `
LEFT JOIN LATERAL (
    SELECT id
    FROM {schema}.workflow_workers
    WHERE id = start.worker AND {alive}
    OFFSET 0
) AS worker ON true`
}

// Gate returns the lock that stands for a run's id. Whoever creates or deletes a run in a transaction of the caller's takes
// it, so that nobody else has to wait, without a bound, for that transaction to end.
func (s *Store) Gate(runID string) *lock.Key {
	key := lock.NewKey(lockNamespace, s.opts.Schema, "gate", runID)
	return &key
}

// They are starts, as [kinds] defines them, that answer with the run.
var (
	createRun       = pg.Define("create_run", aloneText(starts)+"\nRETURNING "+runColumns)
	createPlacedRun = pg.Define("create_run", createPlacedText(placedStarts))
)

func createPlacedText(k kind) string {
	given, write := aloneClauses(k)
	k.key = runColumns
	return given + ", " + k.clause(write) + more(k.after) + "\nSELECT " + runColumns + "\nFROM " + k.written
}

// CreateRun inserts a pending run, or returns the one that has this id already, or is unfinished and has the same unique key, if
// that has the same workflow and input; else ErrRunConflict.
func (s *Store) CreateRun(ctx context.Context, run NewRun) (Run, error) {
	created, _, err := s.EnsureRun(ctx, run)
	return created, err
}

// EnsureRun is CreateRun, and tells whether the run is a new one.
func (s *Store) EnsureRun(ctx context.Context, run NewRun) (_ Run, created bool, err error) {
	ensured, created, err := s.ensureRun(ctx, run)
	if err != nil {
		return Run{}, false, pg.Problem(fmt.Sprintf("create run %q", run.ID), err)
	}
	return ensured, created, nil
}

func (s *Store) ensureRun(ctx context.Context, run NewRun) (_ Run, created bool, err error) {
	// Another round is only needed when the run in the way was deleted, or gave back the key, before it could be read. Short runs of a
	// key that many start come and go that fast, several times in a row on a busy server.
	for range 30 {
		row, err := s.insertRun(ctx, run)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return row.run(), err == nil, err
		}
		err = s.db.Get(ctx, &row, getRun, run.ID)
		if errors.Is(err, sql.ErrNoRows) && run.Unique != "" {
			err = s.db.Get(ctx, &row, getUniqueRun, run.Workflow, run.Unique)
		}
		if err == nil && (row.Workflow != run.Workflow || !sameJSON(json.RawMessage(row.Input), run.Input)) {
			return Run{}, false, ErrRunConflict
		}
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return row.run(), false, err
		}
	}
	return Run{}, false, errors.New("other callers create and delete a run with this id, or this key, at the same time")
}

var getUniqueRun = pg.DefineRead("get_unique_run", `
	SELECT `+runColumns+`
	FROM {schema}.workflow_runs
	WHERE workflow = $1 AND unique_key = $2 AND status IN ('pending', 'running', 'suspended')`)

// insertRun returns sql.ErrNoRows when a run is in the way. That may be one of somebody's open transaction, which creates or
// ends a run with the same unique key: in a caller's transaction the wait for that is bounded.
func (s *Store) insertRun(ctx context.Context, run NewRun) (row runRow, err error) {
	if s.db.Tx() == nil || run.Unique == "" {
		return s.insertGated(ctx, run)
	}
	err = lock.Within(ctx, s.db.Tx(), s.opts.LockTimeout, func(ctx context.Context) (err error) {
		row, err = s.insertGated(ctx, run)
		return err
	})
	return row, err
}

func (s *Store) insertGated(ctx context.Context, run NewRun) (runRow, error) {
	run.Owner, run.Gate = "", nil
	if s.db.Tx() != nil {
		run.Gate = s.Gate(run.ID)
	}
	query := createRun
	if run.kind() == placedStartKind {
		query = createPlacedRun
	}
	insert := func(ctx context.Context) (runRow, error) {
		var row runRow
		if err := s.db.Get(ctx, &row, query, arguments(run)...); err != nil { // a call that was left behind may still write to row
			return runRow{}, err
		}
		return row, nil
	}
	row, err := insert(ctx)
	if s.db.Tx() == nil || !errors.Is(err, sql.ErrNoRows) {
		return row, err
	}

	// Either the run exists, or the gate was closed: wait for who closed it.
	if err := lock.AcquireWithin(ctx, s.db.Tx(), *run.Gate, s.opts.LockTimeout); err != nil {
		return runRow{}, err
	}
	return insert(ctx)
}
