package store

import (
	"context"
	"slices"
	"strings"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Why rows were not written is asked afterwards, in a statement of its own: that is rare, and the look-ups for it would cost
// every statement that writes. A row without an epoch is a start, and only steps and parks have what comes last.
var whyMissed = pg.DefineRead("why_missed", `
	SELECT CASE
	           WHEN missed.epoch IS NULL THEN CASE WHEN run.id IS NULL THEN 'locked' ELSE 'exists' END
	           WHEN run.epoch IS DISTINCT FROM missed.epoch OR run.status <> 'running' THEN 'lost'
	           WHEN run.wake_seq <> missed.wake_seq THEN 'woken'
	           WHEN step.status IN ('succeeded', missed.stays) THEN 'exists'
	           ELSE 'locked'
	       END
	FROM unnest((SELECT $1::text[]), (SELECT $2::bigint[]), (SELECT $3::text[]), (SELECT $4::bigint[]),
	            (SELECT $5::text[])) WITH ORDINALITY AS missed (run_id, epoch, step_name, wake_seq, stays, n)
	LEFT JOIN LATERAL (
	    SELECT id, epoch, status, wake_seq
	    FROM {schema}.workflow_runs
	    WHERE id = missed.run_id
	    OFFSET 0
	) AS run ON true
	LEFT JOIN LATERAL (
	    SELECT status
	    FROM {schema}.workflow_steps
	    WHERE run_id = missed.run_id AND step_name = missed.step_name
	    OFFSET 0
	) AS step ON true
	ORDER BY missed.n`)

// why returns why rows were not written. When that cannot be asked, they are to be sent again, which is true of them too; but within a
// transaction, which has failed with the question, that is an error.
func (s *Store) why(ctx context.Context, missed []Write) ([]Outcome, error) {
	if kinds[missed[0].kind()].unasked {
		return slices.Repeat([]Outcome{Locked}, len(missed)), nil
	}
	var runIDs, epochs, steps, wakeSeqs, stays pg.Array
	for _, w := range missed {
		k, row := kinds[w.kind()], arguments(w)
		runIDs.Add(k.value(row, k.runID))
		epochs.Add(k.value(row, "epoch"))
		steps.Add(k.value(row, "step_name"))
		wakeSeqs.Add(k.value(row, "wake_seq"))
		stays.Add(text(string(k.stays)))
	}
	words, why := []string{}, make([]Outcome, len(missed))
	err := s.db.List(ctx, &words, whyMissed, runIDs.Literal(), epochs.Literal(), steps.Literal(), wakeSeqs.Literal(), stays.Literal())
	if err != nil && s.db.Tx() != nil {
		return nil, err
	}
	for i := range why {
		why[i] = Locked
		if err == nil {
			why[i] = outcomes[words[i]]
		}
	}
	return why, nil
}

// value returns a field of a row of this kind, nil if there is none.
func (k kind) value(row []any, field string) any {
	i := 0
	for f := range strings.SplitSeq(k.fields, ", ") {
		if name, _, _ := strings.Cut(f, " "); name == field {
			return row[i]
		}
		i++
	}
	return nil
}
