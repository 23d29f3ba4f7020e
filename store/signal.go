package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// The kinds of steps that take a signal.
const (
	SignalStep   StepKind = "signal"
	PollStep     StepKind = "poll"     // takes one only if it is there already, and is no answer to somebody who waits
	ApprovalStep StepKind = "approval" // asks somebody, who decides by a signal
)

// waitKinds are the kinds of steps that stay scheduled until something comes.
const waitKinds = "'signal', 'approval', 'call'"

// Signal is what was sent to a run.
type Signal struct {
	RunID   string
	Name    string // what the run waits for it by
	Key     string // chosen by the sender; "": none
	Seq     int64  // rank among the signals of its run: the wake_seq that it made
	Payload json.RawMessage
	SentAt  time.Time // by the database's clock
	TakenBy string    // the step that has taken it, "" if none has; of [Store.ListSignals] only
}

// NewSignal is what [Store.SendSignal] sends.
type NewSignal struct {
	RunID   string
	Name    string
	Key     string // a second signal of this name and key is not sent; "": none
	Payload json.RawMessage
}

// The run's row is locked first, so that its signals are numbered in the order in which they are sent, and a park or a time-out
// comes before or after, not between. A key that somebody else has sent meanwhile is no error, hence the conflict.
var sendSignal = pg.Define("send_signal", `
	WITH `+clockClause+`, found AS (
	    SELECT id, status, wake_seq
	    FROM {schema}.workflow_runs
	    WHERE id = $1
	    {update}
	), sent AS (
	    INSERT INTO {schema}.workflow_signals (run_id, name, seq, key, payload, sent_at)
	    SELECT found.id, $2::text, found.wake_seq + 1, $3::text, $4::jsonb, clock.ms
	    FROM clock, found
	    WHERE found.status IN ('pending', 'running', 'suspended')
	    ON CONFLICT (run_id, name, key) WHERE key IS NOT NULL DO NOTHING
	    RETURNING run_id
	), woken AS (
	    UPDATE {schema}.workflow_runs AS run
	    SET `+wakes("'signal:' || $2::text")+`
	    FROM clock, sent
	    WHERE run.id = $1
	)
	SELECT status, EXISTS (SELECT FROM sent) AS sent
	FROM clock, found`)

// SendSignal sends a signal to a run that is not finished, and makes it runnable if it waits for that. It returns false for a
// key that was sent before, also if the run has finished since; ErrRunNotFound, ErrRunFinished.
func (s *Store) SendSignal(ctx context.Context, signal NewSignal) (sent bool, err error) {
	sent, err = s.sendSignal(ctx, signal)
	return sent, pg.Problem(fmt.Sprintf("send signal %q to run %q", signal.Name, signal.RunID), err)
}

func (s *Store) sendSignal(ctx context.Context, signal NewSignal) (bool, error) {
	var found struct {
		Status RunStatus `db:"status"`
		Sent   bool      `db:"sent"`
	}
	err := s.guarded(ctx, &found, sendSignal, signal.RunID, signal.Name, text(signal.Key), pg.JSON(signal.Payload))
	if err != nil || found.Sent || !found.Status.Finished() {
		return found.Sent, err
	}

	// Asked afterwards: that statement may have waited for the one that sent this key.
	var before bool
	err = s.db.Get(ctx, &before, signalSent, signal.RunID, signal.Name, text(signal.Key))
	if err == nil && !before {
		err = ErrRunFinished
	}
	return false, err
}

var signalSent = pg.DefineRead("signal_sent", `
	SELECT EXISTS (SELECT FROM {schema}.workflow_signals WHERE run_id = $1 AND name = $2 AND key = $3)`)

// signalColumns are the columns of a signalRow, of a table named signal.
const signalColumns = `signal.name AS signal_name, signal.key AS signal_key, signal.seq AS signal_seq,
	       signal.payload AS signal_payload, signal.sent_at AS signal_sent_at`

// A run without signals is a row without one, so every column may be NULL.
type signalRow struct {
	Name    sql.NullString `db:"signal_name"`
	Key     sql.NullString `db:"signal_key"`
	Seq     sql.NullInt64  `db:"signal_seq"`
	Payload pg.JSONB       `db:"signal_payload"`
	SentAt  sql.NullInt64  `db:"signal_sent_at"`
}

func (r signalRow) signal(runID string) Signal {
	return Signal{
		RunID: runID, Name: r.Name.String, Key: r.Key.String, Seq: r.Seq.Int64,
		Payload: json.RawMessage(r.Payload), SentAt: timeOf(r.SentAt),
	}
}

var listSignals = pg.DefineRead("list_signals", `
	WITH taken AS (
	    SELECT signal_seq, step_name
	    FROM {schema}.workflow_steps
	    WHERE run_id = $1 AND signal_seq IS NOT NULL
	)
	SELECT `+signalColumns+`, coalesce(taken.step_name, '') AS taken_by
	FROM {schema}.workflow_runs AS run
	LEFT JOIN {schema}.workflow_signals AS signal ON signal.run_id = run.id
	LEFT JOIN taken ON taken.signal_seq = signal.seq
	WHERE run.id = $1
	ORDER BY signal.seq`)

// ListSignals returns the signals that were sent to a run, in that order; ErrRunNotFound when there is no such run.
func (s *Store) ListSignals(ctx context.Context, runID string) ([]Signal, error) {
	var rows []struct {
		signalRow
		TakenBy string `db:"taken_by"`
	}
	err := s.db.List(ctx, &rows, listSignals, runID)
	if err == nil && len(rows) == 0 {
		err = ErrRunNotFound
	}
	if err != nil {
		return nil, pg.Problem(fmt.Sprintf("list signals of run %q", runID), err)
	}
	signals := make([]Signal, 0, len(rows))
	for _, row := range rows {
		if row.Name.Valid {
			signal := row.signal(runID)
			signal.TakenBy = row.TakenBy
			signals = append(signals, signal)
		}
	}
	return signals, nil
}

var unreadSignals = pg.DefineRead("unread_signals", `
	SELECT DISTINCT name
	FROM {schema}.workflow_signals AS signal
	WHERE run_id = $1
	  AND name NOT LIKE 'approval:%'
	  AND NOT EXISTS (SELECT FROM {schema}.workflow_steps WHERE run_id = $1 AND signal_seq = signal.seq)
	ORDER BY name`)

// UnreadSignals returns the names of the signals that no step of the run has taken, those of decisions left out: these are
// kept whether they counted or not.
func (s *Store) UnreadSignals(ctx context.Context, runID string) ([]string, error) {
	var names []string
	err := s.db.List(ctx, &names, unreadSignals, runID)
	return names, pg.Problem(fmt.Sprintf("look for unread signals of run %q", runID), err)
}
