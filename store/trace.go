package store

import (
	"encoding/json"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// A Trace is what a tracer finds again with a run wherever that is executed: values by their names, such as a traceparent. Nothing else
// looks at it.
type Trace map[string]string

// meta is the column meta of a run that is started with the trace; nil for none.
func (t Trace) meta() json.RawMessage {
	if len(t) == 0 {
		return nil
	}
	object, err := json.Marshal(map[string]Trace{"trace": t})
	if err != nil {
		panic(err) // strings
	}
	return object
}

// traceOf is the trace in a column meta. What others have written there is none.
func traceOf(meta pg.JSONB) Trace {
	if meta == nil {
		return nil
	}
	var stored struct {
		Trace Trace `json:"trace"`
	}
	if err := json.Unmarshal(meta, &stored); err != nil {
		return nil
	}
	return stored.Trace
}
