package main

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/sqlworkflow/workflow"
)

// What --json prints: the columns of the tables under their names, times in RFC 3339.
type (
	runJSON struct {
		ID           string                 `json:"id"`
		Workflow     string                 `json:"workflow"`
		Version      string                 `json:"version,omitempty"`
		Status       workflow.RunStatus     `json:"status"`
		SuspendedFor workflow.SuspendReason `json:"suspended_for,omitempty"`
		WaitsFor     []string               `json:"waits_for,omitempty"`
		ParentID     string                 `json:"parent_id,omitempty"`
		ParentStep   string                 `json:"parent_step,omitempty"`
		Queue        string                 `json:"queue,omitempty"`
		Priority     string                 `json:"priority,omitempty"` // with a queue: highest, high, normal, low or lowest
		Partition    string                 `json:"partition,omitempty"`
		UniqueKey    string                 `json:"unique_key,omitempty"`
		Input        json.RawMessage        `json:"input"`
		Output       json.RawMessage        `json:"output,omitempty"`
		Error        *workflow.Error        `json:"error,omitempty"`
		Owner        string                 `json:"owner,omitempty"`
		RunAt        time.Time              `json:"run_at,omitzero"`
		BlockedAt    time.Time              `json:"blocked_at,omitzero"`
		CreatedAt    time.Time              `json:"created_at"`
		UpdatedAt    time.Time              `json:"updated_at"`
	}
	recordJSON struct {
		runJSON
		InFlight []inFlightJSON `json:"in_flight"`
		Steps    []stepJSON     `json:"steps"`
		Signals  []signalJSON   `json:"signals"`
		Children []childJSON    `json:"children"`
	}
	childJSON struct {
		runJSON
		Children []childJSON `json:"children,omitempty"`
	}
	signalJSON struct {
		Name    string          `json:"name"`
		Key     string          `json:"key,omitempty"`
		Seq     int64           `json:"seq"`
		Payload json.RawMessage `json:"payload"`
		SentAt  time.Time       `json:"sent_at"`
		TakenBy string          `json:"taken_by,omitempty"` // the step
	}
	inFlightJSON struct {
		Step   string    `json:"step"`
		Since  time.Time `json:"since"`
		Worker string    `json:"worker"`
		Host   string    `json:"host,omitempty"`
		PID    int       `json:"pid,omitempty"`
	}
	stepJSON struct {
		Name      string              `json:"name"`
		Status    workflow.StepStatus `json:"status"`
		Kind      workflow.StepKind   `json:"kind,omitempty"`
		Seq       int                 `json:"seq,omitempty"`
		Result    json.RawMessage     `json:"result,omitempty"`
		Error     *workflow.Error     `json:"error,omitempty"`
		Attempts  *attemptsJSON       `json:"attempts,omitempty"`
		WakeAt    time.Time           `json:"wake_at,omitzero"`
		Request   json.RawMessage     `json:"request,omitempty"`
		ChildID   string              `json:"child_id,omitempty"`
		Waiting   int                 `json:"waiting,omitempty"`
		SignalSeq int64               `json:"signal_seq,omitempty"`
		StartedAt time.Time           `json:"started_at,omitzero"`
		UpdatedAt time.Time           `json:"updated_at"`
	}
	attemptsJSON struct {
		Failed   int           `json:"failed"` // since the run was started or resumed
		Policy   policyJSON    `json:"policy"`
		Failures []failureJSON `json:"failures"`
	}
	policyJSON struct { // durations in nanoseconds, as in the database
		MaxAttempts int           `json:"max_attempts"`
		FirstDelay  time.Duration `json:"first_delay"`
		Factor      float64       `json:"factor"`
		MaxDelay    time.Duration `json:"max_delay"`
		Jitter      float64       `json:"jitter"`
	}
	failureJSON struct {
		At    time.Time       `json:"at"`
		Error *workflow.Error `json:"error"`
	}
)

func encodeRuns(runs []workflow.Run) []runJSON {
	encoded := make([]runJSON, len(runs)) // [] rather than null
	for i, run := range runs {
		encoded[i] = encodeRun(run)
	}
	return encoded
}

func encodeRun(run workflow.Run) runJSON {
	encoded := runJSON{
		ID: run.ID, Workflow: run.Workflow, Version: run.Version, Status: run.Status,
		SuspendedFor: run.SuspendedFor, WaitsFor: run.WaitsFor, ParentID: run.ParentID, ParentStep: run.ParentStep,
		Queue: run.Queue, Partition: run.Partition, UniqueKey: run.UniqueKey,
		Input: run.Input, Output: run.Output, Error: stored(run.Err), Owner: run.Owner,
		RunAt: utc(run.RunAt), BlockedAt: utc(run.BlockedAt), CreatedAt: utc(run.CreatedAt), UpdatedAt: utc(run.UpdatedAt),
	}
	if run.Queue != "" {
		encoded.Priority = run.Priority.String()
	}
	return encoded
}

func encodeRecord(r record) recordJSON {
	encoded := recordJSON{
		runJSON: encodeRun(r.run), InFlight: make([]inFlightJSON, len(r.inFlight)), Steps: make([]stepJSON, len(r.steps)),
		Signals: make([]signalJSON, len(r.signals)), Children: encodeFamily(r.children),
	}
	for i, s := range r.signals {
		encoded.Signals[i] = signalJSON{Name: s.Name, Key: s.Key, Seq: s.Seq, Payload: s.Payload, SentAt: utc(s.SentAt), TakenBy: s.TakenBy}
	}
	for i, step := range r.inFlight {
		encoded.InFlight[i] = inFlightJSON{Step: step.Step, Since: utc(step.Since), Worker: step.Worker, Host: step.Host, PID: step.PID}
	}
	for i, step := range r.steps {
		encoded.Steps[i] = stepJSON{
			Name: step.Name, Status: step.Status, Kind: step.Kind, Seq: step.Seq, Result: step.Result, Error: stored(step.Err),
			Attempts: encodeAttempts(step.Attempts), WakeAt: utc(step.WakeAt), StartedAt: utc(step.StartedAt), UpdatedAt: utc(step.UpdatedAt),
			Request: step.Request, ChildID: step.ChildID, Waiting: step.Waiting, SignalSeq: step.SignalSeq,
		}
	}
	return encoded
}

func encodeFamily(f family) []childJSON {
	encoded := make([]childJSON, len(f.members))
	for i, m := range f.members {
		encoded[i] = childJSON{encodeRun(m.run), encodeFamily(m.children)}
	}
	return encoded
}

func encodeAttempts(attempts *workflow.Attempts) *attemptsJSON {
	if attempts == nil {
		return nil
	}
	encoded := &attemptsJSON{Failed: attempts.Count, Policy: policyJSON(attempts.Policy), Failures: make([]failureJSON, len(attempts.Failures))}
	for i, f := range attempts.Failures {
		encoded.Failures[i] = failureJSON{At: utc(f.At), Error: f.Err}
	}
	return encoded
}

func stored(err error) *workflow.Error {
	var e *workflow.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
