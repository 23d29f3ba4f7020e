package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// RunFilter selects runs; the zero value selects all, newest first.
type RunFilter struct {
	Workflow      string    // only runs of this workflow; "" for all
	Status        RunStatus // only runs with this status; "" for all
	CreatedFrom   time.Time // only runs created at this time or later; zero for no bound
	CreatedBefore time.Time // only runs created before this time; zero for no bound
	Limit         int       // runs a page. Defaults to 100; at most 1,000
	Cursor        string    // RunPage.Next of the page before; "" for the first page
}

// RunPage is one page of a list.
type RunPage struct {
	Runs []Run
	Next string // Cursor of the next page; "" when this is the last one
}

// Keyset paging: the next page starts behind the last row of this one, so runs that are inserted meanwhile neither
// repeat nor hide a row.
var listRuns = define(`
	SELECT id, workflow, status, input, output, error, owner, run_at, created_at, updated_at
	FROM {schema}.workflow_runs
	WHERE (created_at, id) < ($1::bigint, $2::text)
	  AND created_at >= $3::bigint
	  AND created_at < $4::bigint
	  AND ($5::text IS NULL OR workflow = $5)
	  AND ($6::text IS NULL OR status = $6)
	ORDER BY created_at DESC, id DESC
	LIMIT $7::bigint`)

// ListRuns returns a page of runs, newest first.
func (s *Store) ListRuns(ctx context.Context, filter RunFilter) (RunPage, error) {
	at, id, err := parseCursor(filter.Cursor)
	if err != nil {
		return RunPage{}, problem("list runs", err)
	}
	var rows []runRow
	err = s.list(ctx, &rows, listRuns, at, id,
		milliseconds(filter.CreatedFrom, math.MinInt64), milliseconds(filter.CreatedBefore, math.MaxInt64),
		nullable(filter.Workflow), nullable(string(filter.Status)), filter.Limit+1)
	if err != nil {
		return RunPage{}, problem("list runs", err)
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

func parseCursor(cursor string) (createdAt int64, id string, err error) {
	if cursor == "" {
		return math.MaxInt64, "", nil
	}
	ms, id, found := strings.Cut(cursor, ".")
	createdAt, err = strconv.ParseInt(ms, 10, 64)
	if !found || err != nil {
		return 0, "", fmt.Errorf("RunFilter.Cursor %q: %w: no page returned it as Next", cursor, ErrInvalidArgument)
	}
	return createdAt, id, nil
}

// milliseconds rounds up: a bound within a millisecond excludes what was created at its start.
func milliseconds(t time.Time, zero int64) int64 {
	if t.IsZero() {
		return zero
	}
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

func nullable(s string) sql.NullString {
	return sql.NullString{String: s, Valid: s != ""}
}
