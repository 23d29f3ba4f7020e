package store

import (
	"context"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// A sweep finds what the statements that end and cancel runs cannot: children that were started while their parent ended, and, as
// a proof that nothing else is ever lost, parents that wait although all their children have ended. It walks the index of
// children, a stretch a call, so that it costs the same however many there are.

// A ChildKey is a place in the order of children.
type ChildKey struct{ ParentID, ID string }

// Stranded is what one stretch of a sweep has found, and mended.
type Stranded struct {
	Cancelled []string // runs that nobody waits for any more, and what they had started
	Woken     []string // runs that waited although all their children had ended
	Next      ChildKey // where the next stretch begins; its zero value when this was the last
}

// sweepBatch is how many children a stretch has at most.
const sweepBatch = 1000

// Nobody waits for an unfinished child any more when its parent has ended with the step open, or was deleted. One that nobody
// ever waited for goes on, unless its parent was cancelled, and so does one whose step was closed: somebody has resumed it.
// OFFSET 0 makes it a look-up for each run or step, as in loadSteps.
// Whether a parent is due is asked of the clock, not of when the transaction began: its last child may have ended since.
var findStranded = pg.DefineRead("find_stranded", `
	WITH children AS MATERIALIZED (
	    SELECT parent_id, id, parent_step, abandoned, status
	    FROM {schema}.workflow_runs
	    WHERE parent_id IS NOT NULL AND (parent_id, id) > ($1, $2)
	    ORDER BY parent_id, id
	    LIMIT $3::bigint
	), families AS (
	    SELECT DISTINCT parent_id, parent_step
	    FROM children
	    WHERE parent_step IS NOT NULL
	)
	(SELECT 'next' AS found, parent_id, id, 0 AS waiting
	 FROM children
	 ORDER BY parent_id, id
	 LIMIT 1
	 OFFSET $3::bigint - 1)
	UNION ALL
	SELECT 'orphan', child.parent_id, child.id, 0
	FROM children AS child
	LEFT JOIN LATERAL (
	    SELECT status
	    FROM {schema}.workflow_runs
	    WHERE id = child.parent_id
	    OFFSET 0
	) AS parent ON true
	WHERE child.status IN ('pending', 'running', 'suspended') AND child.abandoned IS NOT TRUE
	  AND CASE WHEN child.parent_step IS NULL THEN parent.status = 'cancelled'
	           WHEN parent.status IN ('completed', 'failed', 'cancelled') THEN (
	               SELECT status
	               FROM {schema}.workflow_steps
	               WHERE run_id = child.parent_id AND step_name = child.parent_step
	           ) = 'scheduled'
	           ELSE parent.status IS NULL
	      END
	UNION ALL
	SELECT 'family', family.parent_id, family.parent_step, step.waiting
	FROM families AS family
	CROSS JOIN LATERAL (
	    SELECT status, waits_for, run_at
	    FROM {schema}.workflow_runs
	    WHERE id = family.parent_id
	    OFFSET 0
	) AS parent
	CROSS JOIN LATERAL (
	    SELECT waiting
	    FROM {schema}.workflow_steps
	    WHERE run_id = family.parent_id AND step_name = family.parent_step AND status = 'scheduled'
	    OFFSET 0
	) AS step
	WHERE parent.status IN ('pending', 'running', 'suspended')
	  AND (step.waiting > 0
	       OR 'step:' || family.parent_step = ANY (parent.waits_for) AND coalesce(parent.run_at > {clock_ms}, true))
	  AND `+noneUnfinished("family"))

// noneUnfinished is whether all children of a family have ended.
func noneUnfinished(family string) string {
	return `(
	      SELECT true
	      FROM {schema}.workflow_runs
	      WHERE parent_id = ` + family + `.parent_id AND parent_step = ` + family + `.parent_step
	        AND status IN ('pending', 'running', 'suspended')
	      LIMIT 1
	  ) IS NULL`
}

// What has changed since it was found, or is locked by somebody, is left for the next time.
var wakeStranded = pg.Define("wake_stranded", `
	WITH `+clockClause+`, family AS (
	    SELECT parent_id, parent_step, waiting
	    FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::int[])) AS given (parent_id, parent_step, waiting)
	), told AS MATERIALIZED (
	    SELECT family.parent_id, family.parent_step, 0 AS remaining, true AS last
	    FROM family
	    CROSS JOIN LATERAL (
	        SELECT
	        FROM {schema}.workflow_runs
	        WHERE id = family.parent_id AND status IN ('pending', 'running', 'suspended')
	        FOR NO KEY UPDATE SKIP LOCKED
	    ) AS parent
	    CROSS JOIN LATERAL (
	        SELECT
	        FROM {schema}.workflow_steps
	        WHERE run_id = family.parent_id AND step_name = family.parent_step AND status = 'scheduled' AND waiting = family.waiting
	        FOR NO KEY UPDATE SKIP LOCKED
	    ) AS step
	    WHERE `+noneUnfinished("family")+`
	), `+tellParents+`
	SELECT DISTINCT parent_id
	FROM clock, told`)

// FindStranded sweeps one stretch of children, at most 1,000, those behind a place: unfinished children that nobody waits for any
// more are cancelled, unless they were started to go on, and parents that wait for children which have all ended are woken.
func (s *Store) FindStranded(ctx context.Context, after ChildKey) (Stranded, error) {
	var rows []struct {
		Found    string `db:"found"`
		ParentID string `db:"parent_id"`
		ID       string `db:"id"` // of the child, or the key of the step
		Waiting  int64  `db:"waiting"`
	}
	if err := s.db.List(ctx, &rows, findStranded, after.ParentID, after.ID, int64(sweepBatch)); err != nil {
		return Stranded{}, pg.Problem("look for stranded runs", err)
	}
	var stranded Stranded
	var orphans []string
	var parents, steps, waiting pg.Array
	families := 0
	for _, row := range rows {
		switch row.Found {
		case "next":
			stranded.Next = ChildKey{row.ParentID, row.ID}
		case "orphan":
			orphans = append(orphans, row.ID)
		case "family":
			families++
			parents.Add(row.ParentID)
			steps.Add(row.ID)
			waiting.Add(row.Waiting)
		}
	}
	if families > 0 {
		var woken []string
		err := s.db.List(ctx, &woken, wakeStranded, parents.Literal(), steps.Literal(), waiting.Literal())
		if err != nil {
			return stranded, pg.Problem("wake stranded runs", err)
		}
		stranded.Woken = woken
	}
	for _, id := range orphans {
		cancelled, err := s.cancelStranded(ctx, id)
		stranded.Cancelled = append(stranded.Cancelled, cancelled...)
		if err != nil {
			return stranded, err
		}
	}
	return stranded, nil
}
