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
	LeftOut int       // bytes of a payload that was not read; of [Store.LookAtSignals] only
}

// NewSignal is what [Store.SendSignal] sends, and a [Write] of whoever sends many.
type NewSignal struct {
	RunID   string
	Name    string
	Key     string // a second signal of this name and key is not sent; "": none
	Payload json.RawMessage
}

func (NewSignal) kind() int   { return signalKind }
func (n NewSignal) size() int { return len(n.Payload) }

func (n NewSignal) fill(row *fields) {
	row.text(n.RunID)
	row.text(n.Name)
	row.textOrNull(n.Key)
	row.json(n.Payload)
}

// signals are written with the run's row locked first, so that they are numbered in the order in which they are sent, and a park or
// a time-out comes before or after, not between. A key that was sent before, by another statement or an earlier row of this one,
// is no error, hence the conflict; its number is left out. The run is told once of all that were sent to it, in the way of
// tellParents and for its reason.
func signals(lock string) kind {
	return kind{
		name: "send_signal", op: "send signal", given: "signal", runID: "run_id", unasked: true,
		fields: "run_id text, name text, key text, payload jsonb",
		before: `
found AS (
    SELECT run.*
    FROM (SELECT DISTINCT run_id FROM signal) AS given
    CROSS JOIN LATERAL (
        SELECT id, status, wake_seq
        FROM {schema}.workflow_runs
        WHERE id = given.run_id
        ` + lock + `
    ) AS run
), numbered AS (
    SELECT signal.*, found.wake_seq + row_number() OVER (PARTITION BY signal.run_id ORDER BY signal.n) AS seq
    FROM signal
    LEFT JOIN found ON found.id = signal.run_id AND found.status IN ('pending', 'running', 'suspended')
)`,
		written: "sent", keyed: "numbered", key: "run_id, name, seq", write: `
INSERT INTO {schema}.workflow_signals AS signal (run_id, name, seq, key, payload, sent_at)
SELECT run_id, name, seq, key, payload, clock.ms
FROM clock
CROSS JOIN numbered
WHERE seq IS NOT NULL
ORDER BY n
ON CONFLICT (run_id, name, key) WHERE key IS NOT NULL DO NOTHING`,
		after: `
told AS (
    INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, created_at, updated_at, wake_seq, waits_for)
    SELECT run_id, '', 'pending', 'null', 0, clock.ms, max(seq), array_agg('signal:' || name)
    FROM clock
    CROSS JOIN sent
    GROUP BY run_id, clock.ms
    ON CONFLICT (id) DO UPDATE
    SET ` + wakesTo("EXCLUDED.wake_seq", "EXCLUDED.waits_for", "EXCLUDED.updated_at") + `
)`,
	}
}

// Alone, in its own time: it waits for the run, and answers with it.
var sendSignal = pg.Define("send_signal", sendSignalText(signals("{update}")))

func sendSignalText(k kind) string {
	given, write := aloneClauses(k)
	return given + ", " + k.clause(write) + more(k.after) + `
SELECT status, EXISTS (SELECT FROM sent) AS sent
FROM clock, found`
}

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
	err := s.guarded(ctx, &found, sendSignal, signal.RunID, arguments(signal)[1:]...)
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
