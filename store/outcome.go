package store

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// OFFSET 0 makes it a look-up for each run, as in loadSteps.
var findEnded = pg.DefineRead("find_ended", `
	SELECT given.id, coalesce(run.workflow, '') AS workflow, coalesce(run.status, '') AS status, run.output, run.error
	FROM unnest((SELECT $1::text[])) AS given (id)
	LEFT JOIN LATERAL (
	    SELECT workflow, status, output, error
	    FROM {schema}.workflow_runs
	    WHERE id = given.id
	    OFFSET 0
	) AS run ON true
	WHERE run.status IS NULL OR run.status IN ('completed', 'failed', 'cancelled')`)

// Ended returns those of the given runs that are finished, and the ids of those that do not exist.
func (s *Store) Ended(ctx context.Context, runIDs []string) (finished []Run, unknown []string, err error) {
	var rows []runRow
	if err := s.db.List(ctx, &rows, findEnded, pg.Texts(runIDs)); err != nil {
		return nil, nil, pg.Problem("await runs", err)
	}
	for _, row := range rows {
		if row.Status == "" {
			unknown = append(unknown, row.ID)
		} else {
			finished = append(finished, row.run())
		}
	}
	return finished, unknown, nil
}
