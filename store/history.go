package store

import (
	"context"
	"strconv"
	"strings"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// History is what is recorded of a run that was claimed.
type History struct {
	Steps []Step
	Inbox *Inbox   // what had come, as of these steps, of what Waits names; nil: that was not asked
	Waits []string // what Inbox answers, as in Park.WaitsFor
}

// Each given row asks for the signals of one name, or for the steps of its run. All of it is one snapshot: what had come when the
// count was wake_seq is here.
var loadWoken = pg.DefineRead("load_woken", `
	SELECT given.run_id, run.wake_seq, {now_ms} AS now, `+signalColumns+`, `+stepColumns+`
	FROM unnest((SELECT $1::text[]), (SELECT $2::text[])) AS given (run_id, signal)
	CROSS JOIN LATERAL (
	    SELECT wake_seq
	    FROM {schema}.workflow_runs
	    WHERE id = given.run_id
	    OFFSET 0
	) AS run
	LEFT JOIN LATERAL (
	    SELECT name, key, seq, payload, sent_at
	    FROM {schema}.workflow_signals
	    WHERE run_id = given.run_id AND name = given.signal
	    ORDER BY seq
	    LIMIT `+strconv.Itoa(InboxLimit)+`
	) AS signal ON true
	LEFT JOIN LATERAL (
	    SELECT *
	    FROM {schema}.workflow_steps
	    WHERE run_id = given.run_id AND given.signal IS NULL
	    OFFSET 0
	) AS step ON true
	ORDER BY signal.seq`)

// Load returns the histories of several runs, by run, of those that have one. It must be a later statement than the claim; see
// LoadSteps. For runs that waited for signals it brings these along, which spares each a look of its own.
func (s *Store) Load(ctx context.Context, runs []ClaimedRun) (map[string]History, error) {
	var ids, names pg.Array
	var all []string
	waits := make(map[string][]string) // for signals, by run
	for _, run := range runs {
		all = append(all, run.RunID)
		ids.Add(run.RunID)
		names.Add(nil)
		for _, cause := range run.WaitedFor {
			if name, ok := strings.CutPrefix(cause, signalCause); ok {
				waits[run.RunID] = append(waits[run.RunID], cause)
				ids.Add(run.RunID)
				names.Add(name)
			}
		}
	}
	histories := make(map[string]History)
	if len(waits) == 0 {
		steps, err := s.LoadSteps(ctx, all)
		for id := range steps {
			histories[id] = History{Steps: steps[id]}
		}
		return histories, err
	}
	var rows []wokenRow
	if err := s.db.List(ctx, &rows, loadWoken, ids.Literal(), names.Literal()); err != nil {
		return nil, pg.Problem("load steps and signals", err)
	}
	for _, row := range rows {
		history := histories[row.RunID]
		if history.Inbox == nil && waits[row.RunID] != nil {
			history.Waits = waits[row.RunID]
			history.Inbox = &Inbox{WakeSeq: row.WakeSeq, Now: row.Now}
		}
		history.add(row)
		histories[row.RunID] = history
	}
	return histories, nil
}

type wokenRow struct {
	RunID   string `db:"run_id"`
	WakeSeq int64  `db:"wake_seq"`
	Now     int64  `db:"now"`
	signalRow
	stepRow
}

// add takes a row. An open step that waits for a signal is something that the inbox answers as well: nobody has completed it.
func (h *History) add(row wokenRow) {
	if row.signalRow.Name.Valid {
		h.Inbox.Signals = append(h.Inbox.Signals, row.signal(row.RunID))
	}
	if !row.stepRow.Name.Valid {
		return
	}
	step := row.step(row.RunID)
	h.Steps = append(h.Steps, step)
	if h.Inbox != nil && step.Status == StepScheduled && (step.Kind == SignalStep || step.Kind == ApprovalStep) {
		h.Inbox.Steps = append(h.Inbox.Steps, step)
		h.Waits = append(h.Waits, WaitsForStep(step.Name))
	}
}
