package store

import (
	"context"
	"database/sql"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// PruneBatch is how many runs are looked at in one transaction, unless somebody says otherwise.
const PruneBatch = 1000

// TerminalStatuses are those of finished runs.
var TerminalStatuses = []RunStatus{RunCompleted, RunFailed, RunCancelled}

// PruneKey is a place on the way along the index of creation; its zero value is the beginning.
type PruneKey struct {
	CreatedAt int64
	ID        string
}

// A PruneRequest asks for runs that ended long ago.
type PruneRequest struct {
	Before     int64       // only runs that ended before, Unix milliseconds
	Statuses   []RunStatus // only these, which are terminal
	Workflow   string      // only runs of this workflow; "" for all
	Attributes Attributes  // only runs that have all of these; none for all
	Limit      int         // runs to look at
	At         PruneKey    // where to begin
}

// A PruneStretch is what one look found.
type PruneStretch struct {
	RunIDs []string // to be deleted, or deleted
	Looked int      // runs that were looked at
	Next   PruneKey // where to go on; the zero value: there are no more
}

// A stretch of the index of creation, and the runs of it that may go. A run stays while the one that has started it, or one that it has
// started, is not finished: the former may still read how this one ended, and the latter would lose its family. What others hold is left.
func oldRuns(lock string) string {
	return `
	WITH ` + clockClause + `, stretch AS MATERIALIZED (
	    SELECT created_at, id
	    FROM {schema}.workflow_runs
	    WHERE (created_at, id) > ($1::bigint, $2::text) AND created_at < $3::bigint
	    ORDER BY created_at, id
	    LIMIT $4::bigint
	), old AS MATERIALIZED (
	    SELECT run.id
	    FROM stretch
	    CROSS JOIN LATERAL (
	        SELECT id
	        FROM {schema}.workflow_runs AS candidate
	        WHERE id = stretch.id
	          AND updated_at < $3::bigint
	          AND status = ANY ($5::text[]) AND status NOT IN ('pending', 'running', 'suspended')
	          AND ($6::text IS NULL OR workflow = $6::text)
	          AND ` + hasAttributes("candidate.id", "$7", "$8") + `
	          AND (SELECT true
	               FROM {schema}.workflow_runs
	               WHERE id = candidate.parent_id AND status IN ('pending', 'running', 'suspended')
	               LIMIT 1) IS NULL
	          AND (SELECT true
	               FROM {schema}.workflow_runs
	               WHERE parent_id = candidate.id AND status IN ('pending', 'running', 'suspended')
	               LIMIT 1) IS NULL
	        OFFSET 0
	        ` + lock + `
	    ) AS run
	)
	SELECT stretch.created_at, stretch.id, old.id IS NOT NULL AS old
	FROM clock
	CROSS JOIN stretch
	LEFT JOIN old ON old.id = stretch.id
	ORDER BY stretch.created_at, stretch.id`
}

var (
	findOldRuns = pg.DefineRead("find_old_runs", oldRuns(""))
	lockOldRuns = pg.Define("lock_old_runs", oldRuns("FOR UPDATE SKIP LOCKED"))
)

// Each is looked up by its id: what is compared besides, and holds for each, lets no plan expect so many that it would read the whole
// table.
var deleteRuns = pg.Define("delete_runs", `
	WITH `+clockClause+`, given AS MATERIALIZED (
	    SELECT id, 1 AS one
	    FROM unnest((SELECT $1::text[])) AS given (id)
	)
	DELETE FROM {schema}.workflow_runs AS run
	USING clock, given
	WHERE run.id = given.id AND given.one = $2::int`)

// FindOldRuns looks at one stretch of runs, and tells which may go.
func (s *Store) FindOldRuns(ctx context.Context, request PruneRequest) (PruneStretch, error) {
	stretch, err := s.oldRuns(ctx, findOldRuns, request)
	return stretch, pg.Problem("look for old runs", err)
}

// PruneRuns deletes what may go of one stretch of runs, with steps and signals, in one transaction: any number of processes may do so at
// once. archive is called in it before, if there is anything; its error undoes all.
func (s *Store) PruneRuns(
	ctx context.Context, request PruneRequest, archive func(ctx context.Context, tx *sql.Tx, runIDs []string) error,
) (stretch PruneStretch, err error) {
	const op = "prune runs"
	err = s.InTransaction(ctx, op, func(ctx context.Context, s *Store) (err error) {
		stretch, err = s.oldRuns(ctx, lockOldRuns, request)
		if err != nil || len(stretch.RunIDs) == 0 {
			return pg.Problem(op, err)
		}
		if archive != nil {
			if err := archive(ctx, s.Tx(), stretch.RunIDs); err != nil {
				return err
			}
		}
		_, err = s.db.Exec(ctx, deleteRuns, pg.Texts(stretch.RunIDs), int64(1))
		return pg.Problem(op, err)
	})
	return stretch, err
}

func (s *Store) oldRuns(ctx context.Context, query *pg.Query, request PruneRequest) (PruneStretch, error) {
	var statuses pg.Array
	for _, status := range request.Statuses {
		statuses.Add(string(status))
	}
	names, values := request.Attributes.arrays()
	var rows []struct {
		CreatedAt int64  `db:"created_at"`
		ID        string `db:"id"`
		Old       bool   `db:"old"`
	}
	err := s.db.List(ctx, &rows, query, request.At.CreatedAt, request.At.ID, request.Before, int64(request.Limit),
		statuses.Literal(), text(request.Workflow), names, values)
	if err != nil {
		return PruneStretch{}, err
	}
	stretch := PruneStretch{Looked: len(rows)}
	for _, row := range rows {
		if row.Old {
			stretch.RunIDs = append(stretch.RunIDs, row.ID)
		}
	}
	if len(rows) == request.Limit {
		last := rows[len(rows)-1]
		stretch.Next = PruneKey{CreatedAt: last.CreatedAt, ID: last.ID}
	}
	return stretch, nil
}
