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
	Attributes    Attributes    // only runs that have all of these; none for all
	CreatedFrom   time.Time     // only runs created at this time or later; zero for no bound
	CreatedBefore time.Time     // only runs created before this time; zero for no bound
	Limit         int           // runs a page. Defaults to 100; at most 1,000
	MaxLook       int           // runs that are looked at for a page; 0: as many as it takes
	Cursor        string        // RunPage.Next of the page before; "" for the first page
}

// chosen is whether runs are left out, so that it may take many to fill a page.
func (f RunFilter) chosen() bool {
	return f.Workflow != "" || f.Statuses != nil || f.SuspendedFor != "" || f.Queue != "" || len(f.Attributes) > 1
}

// RunPage is one page of a list.
type RunPage struct {
	Runs     []Run
	Next     string    // Cursor of the next page; "" when this is the last one
	LookedTo time.Time // creation of the oldest run that was looked at, when MaxLook ended the page; else zero
}

// Keyset paging: the next page starts after the last row of this one, so runs that are inserted meanwhile neither
// repeat nor hide a row.
var listRuns = pg.DefineRead("list_runs", listRunsFrom("{schema}.workflow_runs")+newestFirst)

// The children of a run are few among all runs, and have an index of their own. LIMIT keeps a plan from asking others too.
var listChildren = pg.DefineRead("list_children", listRunsFrom(`(
	    SELECT `+runColumns+`
	    FROM {schema}.workflow_runs
	    WHERE parent_id = $10
	    ORDER BY id
	    LIMIT $13::bigint
	) AS child`)+`
	  AND `+hasAttributes("child.id", "$11", "$12")+newestFirst)

func listRunsFrom(runs string) string {
	return `
	SELECT ` + runColumns + `
	FROM ` + runs + `
	WHERE ` + created("id") + `
	  AND ` + listed
}

// created is whether a row is of the page, or after it, and of the time that is asked for. The two ends of the time are not a range: of
// that a plan would expect few runs.
func created(id string) string {
	return `(created_at, ` + id + `) < (coalesce($1::bigint, 9223372036854775807), coalesce($2::text, ''))
	  AND (created_at, ` + id + `) >= (coalesce($3::bigint, '-9223372036854775808'), coalesce($9::text, ''))`
}

// listed is what a filter leaves: one condition, of which a plan expects half. A plan for few runs would read and sort all of them instead
// of walking the index until the page is full.
const listed = `CASE WHEN $4::text IS NOT NULL AND workflow <> $4 THEN false
	           WHEN $5::text[] IS NOT NULL AND status <> ALL ($5) THEN false
	           WHEN $6::text IS NOT NULL AND suspended_for IS DISTINCT FROM $6 THEN false
	           WHEN $8::text IS NOT NULL AND queue IS DISTINCT FROM $8 THEN false
	           ELSE true
	      END`

const newestFirst = `
	ORDER BY created_at DESC, id DESC
	LIMIT $7::bigint`

// The runs that have an attribute are read from the newest on, in the order of their index. Of several attributes that one leads which the
// fewest runs have, as far as that is counted; the others are looked up for each of its runs.
var listByAttributes = pg.DefineRead("list_runs_by_attributes", `
	WITH rarest AS MATERIALIZED (
	    SELECT name, value
	    FROM unnest((SELECT $10::text[]), (SELECT $11::text[])) AS wanted (name, value)
	    CROSS JOIN LATERAL (
	        SELECT count(*) AS runs
	        FROM (
	            SELECT
	            FROM {schema}.workflow_attributes
	            WHERE name = wanted.name AND value = wanted.value
	            LIMIT $12::bigint
	        ) AS few
	    ) AS counted
	    ORDER BY runs
	    LIMIT 1
	)
	SELECT run.*
	FROM (
	    SELECT created_at, run_id
	    FROM {schema}.workflow_attributes
	    WHERE name = (SELECT name FROM rarest) AND value = (SELECT value FROM rarest)
	      AND `+created("run_id")+`
	    ORDER BY created_at DESC, run_id DESC
	    OFFSET 0
	) AS attribute
	CROSS JOIN LATERAL (
	    SELECT `+runColumns+`
	    FROM {schema}.workflow_runs
	    WHERE id = attribute.run_id
	      AND `+listed+`
	    OFFSET 0
	) AS run
	WHERE `+hasAttributes("attribute.run_id", "$10", "$11")+`
	ORDER BY attribute.created_at DESC, attribute.run_id DESC
	LIMIT $7::bigint`)

// rareRuns is how many runs of each attribute are counted to find out which has the fewest.
const rareRuns = 1000

// ListRuns returns a page of runs, newest first.
func (s *Store) ListRuns(ctx context.Context, filter RunFilter) (RunPage, error) {
	at, id, err := filter.end()
	if err != nil {
		return RunPage{}, pg.Problem("list runs", err)
	}
	from, oldest, err := s.lookTo(ctx, filter, at, id)
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
		at, id, from, text(filter.Workflow), chosen,
		text(string(filter.SuspendedFor)), int64(filter.Limit) + 1, text(filter.Queue), text(oldest),
	}
	names, values := filter.Attributes.arrays()
	switch {
	case filter.ParentID != "":
		query, args = listChildren, append(args, filter.ParentID, names, values, number(filter.MaxLook))
	case len(filter.Attributes) == 1:
		query, args = listByAttributes, append(args, names, values, int64(0)) // there is no other
	case names != nil:
		query, args = listByAttributes, append(args, names, values, int64(rareRuns))
	}
	var rows []runRow
	if err := s.db.List(ctx, &rows, query, args...); err != nil {
		return RunPage{}, pg.Problem("list runs", err)
	}

	var page RunPage
	if len(rows) > filter.Limit { // the one row more tells that there is a next page
		rows = rows[:filter.Limit]
		last := rows[len(rows)-1]
		page.Next = cursorOf(last.CreatedAt, last.ID)
	}
	for _, row := range rows {
		page.Runs = append(page.Runs, row.run())
	}
	if at, ended := from.(int64); ended && oldest != "" && page.Next == "" {
		page.Next, page.LookedTo = cursorOf(at, oldest), time.UnixMilli(at)
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

func cursorOf(createdAt int64, id string) string { return strconv.FormatInt(createdAt, 10) + "." + id }

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
