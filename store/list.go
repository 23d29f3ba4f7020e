package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// RunFilter selects runs; the zero value selects all, newest first.
type RunFilter struct {
	Workflow      string        // only runs of this workflow; "" for all
	Statuses      []RunStatus   // only runs with one of these statuses; none for all
	SuspendedFor  SuspendReason // only runs that are suspended for this reason; "" for all
	Queue         string        // only runs of this queue; "" for all
	ParentID      string        // only runs that this one has started; "" for all
	CreatedFrom   time.Time     // only runs created at this time or later; zero for no bound
	CreatedBefore time.Time     // only runs created before this time; zero for no bound
	Limit         int           // runs a page. Defaults to 100; at most 1,000
	Cursor        string        // RunPage.Next of the page before; "" for the first page
}

// RunPage is one page of a list.
type RunPage struct {
	Runs []Run
	Next string // Cursor of the next page; "" when this is the last one
}

// Keyset paging: the next page starts after the last row of this one, so runs that are inserted meanwhile neither
// repeat nor hide a row.
var listRuns = pg.DefineRead("list_runs", listRunsFrom("{schema}.workflow_runs"))

// The children of a run are few among all runs, and have an index of their own. OFFSET 0 keeps a plan from asking others too.
var listChildren = pg.DefineRead("list_children", listRunsFrom(`(
	    SELECT `+runColumns+`
	    FROM {schema}.workflow_runs
	    WHERE parent_id = $9
	    OFFSET 0
	) AS child`))

// What a filter leaves is one condition of which a plan expects half: a plan for few runs would read and sort all of them instead of
// walking the index until the page is full. For the same reason the two ends of the time are not a range.
func listRunsFrom(runs string) string {
	return `
	SELECT ` + runColumns + `
	FROM ` + runs + `
	WHERE (created_at, id) < (coalesce($1::bigint, 9223372036854775807), coalesce($2::text, ''))
	  AND created_at >= coalesce($3::bigint, '-9223372036854775808')
	  AND CASE WHEN $4::text IS NOT NULL AND workflow <> $4 THEN false
	           WHEN $5::text[] IS NOT NULL AND status <> ALL ($5) THEN false
	           WHEN $6::text IS NOT NULL AND suspended_for IS DISTINCT FROM $6 THEN false
	           WHEN $8::text IS NOT NULL AND queue IS DISTINCT FROM $8 THEN false
	           ELSE true
	      END
	ORDER BY created_at DESC, id DESC
	LIMIT $7::bigint`
}

// ListRuns returns a page of runs, newest first.
func (s *Store) ListRuns(ctx context.Context, filter RunFilter) (RunPage, error) {
	at, id, err := filter.end()
	if err != nil {
		return RunPage{}, pg.Problem("list runs", err)
	}
	var chosen any
	if len(filter.Statuses) > 0 {
		var statuses pg.Array
		for _, status := range filter.Statuses {
			statuses.Add(string(status))
		}
		chosen = statuses.Literal()
	}
	query, args := listRuns, []any{
		at, id, ceiling(filter.CreatedFrom), text(filter.Workflow), chosen,
		text(string(filter.SuspendedFor)), int64(filter.Limit) + 1, text(filter.Queue),
	}
	if filter.ParentID != "" {
		query, args = listChildren, append(args, filter.ParentID)
	}
	var rows []runRow
	if err := s.db.List(ctx, &rows, query, args...); err != nil {
		return RunPage{}, pg.Problem("list runs", err)
	}

	var page RunPage
	if len(rows) > filter.Limit { // the one row more tells that there is a next page
		rows = rows[:filter.Limit]
		last := rows[len(rows)-1]
		page.Next = strconv.FormatInt(last.CreatedAt, 10) + "." + last.ID
	}
	for _, row := range rows {
		page.Runs = append(page.Runs, row.run())
	}
	return page, nil
}

// end returns where the page ends: before the last run of the page before it, or before a time, whichever is earlier.
func (f RunFilter) end() (createdAt, id any, err error) {
	at, id, err := parseCursor(f.Cursor)
	if before, ok := ceiling(f.CreatedBefore).(int64); ok && err == nil {
		if last, paged := at.(int64); !paged || before <= last {
			return before, "", nil
		}
	}
	return at, id, err
}

// parseCursor returns NULLs for none.
func parseCursor(cursor string) (createdAt, id any, err error) {
	if cursor == "" {
		return nil, nil, nil
	}
	ms, name, found := strings.Cut(cursor, ".")
	at, err := strconv.ParseInt(ms, 10, 64)
	if !found || err != nil {
		return nil, nil, fmt.Errorf("RunFilter.Cursor %q: %w: no page returned it as Next", cursor, ErrInvalidArgument)
	}
	return at, name, nil
}

// ceiling rounds up to milliseconds: a bound within a millisecond excludes what was created at its start. It is NULL for
// the zero time.
func ceiling(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}
