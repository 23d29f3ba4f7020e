package store

import (
	"context"
	"encoding/json"
)

var outcomes = define(`
	SELECT id, status,
	       CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN output END AS output,
	       CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN error END AS error
	FROM {schema}.workflow_runs
	WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))`)

// Outcomes returns where the given runs stand, with output and error once they are finished; unknown ones are left out.
func (s *Store) Outcomes(ctx context.Context, runIDs []string) (map[string]Run, error) {
	ids, err := json.Marshal(runIDs)
	if err != nil {
		return nil, problem("await runs", err)
	}
	var rows []runRow
	if err := s.list(ctx, &rows, outcomes, string(ids)); err != nil {
		return nil, problem("await runs", err)
	}
	runs := make(map[string]Run, len(rows))
	for _, row := range rows {
		runs[row.ID] = row.run()
	}
	return runs, nil
}
