package store

import (
	"database/sql"
	"encoding/json"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// stepColumns are the columns of a stepRow, of a table named step.
const stepColumns = `step.step_name, step.status, step.result, step.error, step.updated_at, step.kind, step.seq,
	       step.started_at, step.attempts, step.wake_at, step.wake_at - {now_ms} AS wake_in,
	       step.request, step.child_id, step.waiting, step.signal_seq AS taken_seq`

// A run without steps is a row without a step, so every column of the step may be NULL.
type stepRow struct {
	Name      sql.NullString `db:"step_name"`
	Status    sql.NullString `db:"status"`
	Result    pg.JSONB       `db:"result"`
	Error     pg.JSONB       `db:"error"`
	UpdatedAt sql.NullInt64  `db:"updated_at"`
	Kind      sql.NullString `db:"kind"`
	Seq       sql.NullInt64  `db:"seq"`
	StartedAt sql.NullInt64  `db:"started_at"`
	Attempts  pg.JSONB       `db:"attempts"`
	WakeAt    sql.NullInt64  `db:"wake_at"`
	WakeIn    sql.NullInt64  `db:"wake_in"`
	Request   pg.JSONB       `db:"request"`
	ChildID   sql.NullString `db:"child_id"`
	Waiting   sql.NullInt64  `db:"waiting"`
	SignalSeq sql.NullInt64  `db:"taken_seq"`
}

func (r stepRow) step(runID string) Step {
	return Step{
		RunID: runID, Name: r.Name.String, Status: StepStatus(r.Status.String),
		Result: json.RawMessage(r.Result), Err: decodeError(r.Error), UpdatedAt: timeOf(r.UpdatedAt),
		Kind: StepKind(r.Kind.String), Seq: int(r.Seq.Int64), StartedAt: timeOf(r.StartedAt),
		Attempts: decodeAttempts(r.Attempts), WakeAt: timeOf(r.WakeAt),
		WakeIn:  time.Duration(r.WakeIn.Int64) * time.Millisecond,
		Request: json.RawMessage(r.Request), ChildID: r.ChildID.String, Waiting: int(r.Waiting.Int64), SignalSeq: r.SignalSeq.Int64,
	}
}

// timeOf is zero for NULL.
func timeOf(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64)
}

// An attemptsRow is what the column attempts holds.
type attemptsRow struct {
	Count    int       `json:"count"`
	Policy   policyRow `json:"policy"`
	Failures []struct {
		At    int64  `json:"at"` // Unix milliseconds
		Error *Error `json:"error"`
	} `json:"failures"`
}

// A policyRow has its durations in nanoseconds.
type policyRow struct {
	MaxAttempts int           `json:"max_attempts"`
	FirstDelay  time.Duration `json:"first_delay"`
	Factor      float64       `json:"factor"`
	MaxDelay    time.Duration `json:"max_delay"`
	Jitter      float64       `json:"jitter"`
}

// decodeAttempts forgives what it cannot read: it is history, and a number of attempts.
func decodeAttempts(column pg.JSONB) *Attempts {
	if column == nil {
		return nil
	}
	var row attemptsRow
	if json.Unmarshal(column, &row) != nil {
		return nil
	}
	a := &Attempts{Count: row.Count, Policy: RetryPolicy(row.Policy)}
	for _, failure := range row.Failures {
		a.Failures = append(a.Failures, FailedAttempt{At: time.UnixMilli(failure.At), Err: failure.Error})
	}
	return a
}

func encodePolicy(p RetryPolicy) json.RawMessage {
	text, err := json.Marshal(policyRow(p))
	if err != nil { // a factor or jitter that is no number: the root refuses it
		return nil
	}
	return text
}
