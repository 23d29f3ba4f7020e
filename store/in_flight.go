package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// HangingStep is what a worker says of a step that has been in flight for long.
type HangingStep struct {
	RunID string
	Step  string
	Took  time.Duration // so far: a duration, because clocks of workers differ
}

// hanging returns the arrays that a heartbeat has for them.
func hanging(steps []HangingStep) (runIDs, names, took string) {
	var ids, keys, ms pg.Array
	for _, step := range steps {
		ids.Add(step.RunID)
		keys.Add(step.Step)
		ms.Add(step.Took.Milliseconds())
	}
	return ids.Literal(), keys.Literal(), ms.Literal()
}

// StepInFlight is a step that a living worker has been executing for longer than one interval of its heartbeat.
type StepInFlight struct {
	RunID  string
	Step   string
	Since  time.Time     // by the database's clock
	For    time.Duration // from Since to the time of reading
	Worker string
	Host   string
	PID    int
}

// saidRecorded is whether an outcome of a step was recorded after a worker said that it was in flight.
const saidRecorded = `LEFT JOIN LATERAL (
	    SELECT true AS recorded
	    FROM {schema}.workflow_steps
	    WHERE run_id = said.run_id AND step_name = said.step AND status <> 'running' AND updated_at > said.since
	    OFFSET 0
	) AS step ON true`

// What a worker said with its last heartbeat may be over by now: the run has another owner, or an outcome of the step was
// recorded after the attempt began. (A row with the status running is the mark that the attempt itself has made.) Such
// steps are few, so the limit only bounds a disaster.
var stepsInFlight = pg.DefineRead("steps_in_flight", `
	SELECT said.run_id, said.step, said.since, {now_ms} - said.since AS age, worker.id AS worker, worker.host, worker.pid
	FROM {schema}.workflow_workers AS worker
	CROSS JOIN LATERAL jsonb_to_recordset(worker.hanging) AS said (run_id text, step text, since bigint)
	CROSS JOIN LATERAL (
	    SELECT
	    FROM {schema}.workflow_runs
	    WHERE id = said.run_id AND owner = worker.id
	    OFFSET 0
	) AS run
	`+saidRecorded+`
	WHERE worker.{alive} AND ($1::text IS NULL OR said.run_id = $1) AND step.recorded IS NULL
	ORDER BY said.since, said.run_id, said.step
	LIMIT 1000`)

// StepsInFlight returns the steps of a run, or of all runs for "", that have been in flight for long: the oldest first, at most
// 1,000.
func (s *Store) StepsInFlight(ctx context.Context, runID string) ([]StepInFlight, error) {
	var rows []struct {
		RunID  string         `db:"run_id"`
		Step   string         `db:"step"`
		Since  int64          `db:"since"`
		Age    int64          `db:"age"`
		Worker string         `db:"worker"`
		Host   sql.NullString `db:"host"`
		PID    sql.NullInt64  `db:"pid"`
	}
	if err := s.db.List(ctx, &rows, stepsInFlight, text(runID)); err != nil {
		op := "list steps in flight"
		if runID != "" {
			op = fmt.Sprintf("list steps in flight of run %q", runID)
		}
		return nil, pg.Problem(op, err)
	}
	steps := make([]StepInFlight, len(rows))
	for i, row := range rows {
		steps[i] = StepInFlight{
			RunID: row.RunID, Step: row.Step, Since: time.UnixMilli(row.Since), For: time.Duration(row.Age) * time.Millisecond,
			Worker: row.Worker, Host: row.Host.String, PID: int(row.PID.Int64),
		}
	}
	return steps, nil
}
