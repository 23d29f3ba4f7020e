package store

import "encoding/json"

// End is the outcome of an owned run.
type End struct {
	Owned
	Status RunStatus
	Output json.RawMessage
	Err    *Error
	// WakeSeq is set for an owner who wants to know of what has come and he has not seen: if it has moved, the outcome is Woken.
	WakeSeq *int64

	ParentID, ParentStep string // the step that awaits the run, which is told; "": none does
}

func (e *End) kind() int {
	if e.ParentStep != "" {
		return childEndKind
	}
	return endKind
}

func (e *End) size() int { return len(e.Output) }
func (e *End) fill(row *fields) {
	row.text(e.RunID)
	row.number(e.Epoch)
	row.text(string(e.Status))
	row.json(e.Output)
	row.json(encodeError(e.Err))
	if e.WakeSeq != nil {
		row.number(*e.WakeSeq)
	} else {
		row.null()
	}
	if e.ParentStep != "" {
		row.text(e.ParentID)
		row.text(e.ParentStep)
	}
}

// ends is how a run becomes terminal, whoever ends it: the SET list of an UPDATE of workflow_runs AS run. What hangs on
// the end of a run hangs here. at is the time, which each statement has read already.
func ends(status, output, err, at string) string {
	return `status = ` + status + `, output = ` + output + `, error = ` + err + `, owner = NULL, epoch = run.epoch + 1,
    run_at = NULL, suspended_for = NULL, waits_for = NULL, blocked_at = NULL, updated_at = ` + at
}
