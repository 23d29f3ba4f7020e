package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// What a page shows of a run is read up to bounds: the last rows, and payloads only as far as they are short. How many bytes a value takes
// where it is stored is known without reading it; only one that is short there is read, to find out whether it was packed.
const (
	lookStored = "8192"
	lookText   = "16384"
	lookRows   = "10000"
)

// unlessLong is a column of a payload that is NULL when that is long, and how long it is then.
func unlessLong(column string) (value, length string) {
	long := "CASE WHEN pg_column_size(" + column + ") > " + lookStored + " THEN pg_column_size(" + column + ")\n" +
		"	            WHEN octet_length(" + column + "::text) > " + lookText + " THEN octet_length(" + column + "::text) END"
	return "CASE WHEN " + long + " IS NULL THEN " + column + " END", long
}

var (
	shortResult, longResult   = unlessLong("result")
	shortRequest, _           = unlessLong("request")
	shortAttempts, _          = unlessLong("attempts")
	shortPayload, longPayload = unlessLong("payload")
)

var lookAtSteps = pg.DefineRead("look_at_steps", `
	SELECT `+stepColumns+`, step.left_out
	FROM {schema}.workflow_runs AS run
	LEFT JOIN LATERAL (
	    SELECT step_name, status, error, updated_at, kind, seq, started_at, wake_at, child_id, waiting, signal_seq,
	           `+shortResult+` AS result, `+shortRequest+` AS request, `+shortAttempts+` AS attempts, `+longResult+` AS left_out
	    FROM (
	        SELECT *
	        FROM {schema}.workflow_steps
	        WHERE run_id = run.id
	        ORDER BY seq DESC NULLS FIRST, updated_at DESC, step_name DESC
	        LIMIT $2::bigint
	    ) AS last
	    OFFSET 0
	) AS step ON true
	WHERE run.id = $1
	ORDER BY step.seq NULLS LAST, step.updated_at, step.step_name`)

// LookAtSteps returns the last steps of a run, in the order of ListSteps. What is long of them is left out.
func (s *Store) LookAtSteps(ctx context.Context, runID string, most int) ([]Step, error) {
	var rows []struct {
		stepRow
		LeftOut sql.NullInt64 `db:"left_out"`
	}
	err := s.db.List(ctx, &rows, lookAtSteps, runID, int64(most))
	if err == nil && len(rows) == 0 {
		err = ErrRunNotFound
	}
	if err != nil {
		return nil, pg.Problem(fmt.Sprintf("look at steps of run %q", runID), err)
	}
	steps := make([]Step, 0, len(rows))
	for _, row := range rows {
		if row.Name.Valid {
			step := row.step(runID)
			step.LeftOut = int(row.LeftOut.Int64)
			steps = append(steps, step)
		}
	}
	return steps, nil
}

var lookAtSignals = pg.DefineRead("look_at_signals", `
	WITH taken AS MATERIALIZED (
	    SELECT signal_seq, step_name
	    FROM {schema}.workflow_steps
	    WHERE run_id = $1 AND signal_seq IS NOT NULL
	)
	SELECT `+signalColumns+`, signal.left_out, coalesce(taken.step_name, '') AS taken_by
	FROM (
	    SELECT name, key, seq, sent_at, `+shortPayload+` AS payload, `+longPayload+` AS left_out
	    FROM (
	        SELECT name, key, seq, sent_at, payload
	        FROM (
	            SELECT *
	            FROM {schema}.workflow_signals
	            WHERE run_id = $1
	            LIMIT `+lookRows+`
	        ) AS sent
	        ORDER BY seq DESC
	        LIMIT $2::bigint
	    ) AS last
	    OFFSET 0
	) AS signal
	LEFT JOIN taken ON taken.signal_seq = signal.seq
	ORDER BY signal.seq DESC`)

// LookAtSignals returns the last signals of a run in the order of ListSignals, or none where there is no such run. What is long of them is left
// out. Of more than 10,000 signals these are the last of some.
func (s *Store) LookAtSignals(ctx context.Context, runID string, most int) ([]Signal, error) {
	var rows []struct {
		signalRow
		LeftOut sql.NullInt64 `db:"left_out"`
		TakenBy string        `db:"taken_by"`
	}
	if err := s.db.List(ctx, &rows, lookAtSignals, runID, int64(most)); err != nil {
		return nil, pg.Problem("look at signals of run "+strconv.Quote(runID), err)
	}
	signals := make([]Signal, len(rows))
	for i, row := range rows {
		signals[i] = row.signal(runID)
		signals[i].TakenBy, signals[i].LeftOut = row.TakenBy, int(row.LeftOut.Int64)
	}
	slices.Reverse(signals)
	return signals, nil
}
