package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// The run as far back as may be looked: entries of an index are walked, and no row is read for them.
var lookBack = pg.DefineRead("look_back", lookFrom("workflow_runs", "id", "true"))

// The same among the runs that have an attribute.
var lookBackByAttribute = pg.DefineRead("look_back_by_attribute", lookFrom("workflow_attributes", "run_id", "name = $5 AND value = $6"))

func lookFrom(table, id, condition string) string {
	return `
	SELECT created_at, ` + id + ` AS id
	FROM {schema}.` + table + `
	WHERE (created_at, ` + id + `) < (coalesce($1::bigint, 9223372036854775807), coalesce($2::text, ''))
	  AND created_at >= coalesce($3::bigint, '-9223372036854775808')
	  AND ` + condition + `
	ORDER BY created_at DESC, ` + id + ` DESC
	OFFSET $4::bigint
	LIMIT 1`
}

// lookTo returns where a page ends that may look at so many runs only: at the oldest of these, which is "" if there are fewer. Of several
// attributes any may lead the list, so each is asked how far back that is. Children have a bound of their own.
func (s *Store) lookTo(ctx context.Context, filter RunFilter, at, id any) (from any, oldest string, err error) {
	from = ceiling(filter.CreatedFrom)
	if filter.MaxLook == 0 || filter.ParentID != "" || !filter.chosen() {
		return from, "", nil
	}
	args := []any{at, id, from, int64(filter.MaxLook) - 1}
	ends := edge{}
	if len(filter.Attributes) == 0 {
		ends, err = s.look(ctx, lookBack, args...)
	}
	for _, name := range slices.Sorted(maps.Keys(filter.Attributes)) {
		end, problem := s.look(ctx, lookBackByAttribute, append(args, name, filter.Attributes[name])...)
		if problem != nil {
			return nil, "", problem
		}
		if end.CreatedAt > ends.CreatedAt || end.CreatedAt == ends.CreatedAt && end.ID > ends.ID {
			ends = end
		}
	}
	if err != nil || ends.ID == "" {
		return from, "", err
	}
	return ends.CreatedAt, ends.ID, nil
}

// An edge is a run in the order of their creation.
type edge struct {
	CreatedAt int64  `db:"created_at"`
	ID        string `db:"id"`
}

func (s *Store) look(ctx context.Context, query *pg.Query, args ...any) (end edge, err error) {
	err = s.db.Get(ctx, &end, query, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return edge{}, nil
	}
	return end, err
}
