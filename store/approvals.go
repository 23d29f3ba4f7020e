package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// Approval is a step that asks somebody and that nobody has decided.
type Approval struct {
	RunID    string
	Workflow string
	Step     string
	Request  json.RawMessage // who is asked for what: {from, for}
	AskedAt  time.Time       // by the database's clock
	Until    time.Time       // zero: it is waited for without a bound
}

// ApprovalFilter selects approvals; the zero value selects all, newest first.
type ApprovalFilter struct {
	From   string // only those that ask this one, or anybody; "" for all
	Limit  int    // approvals a page
	Cursor string // ApprovalPage.Next of the page before; "" for the first page
}

// ApprovalPage is one page of a list.
type ApprovalPage struct {
	Approvals []Approval
	Next      string // Cursor of the next page; "" when this is the last one
}

// It walks the index of open approvals from the cursor on. A run that was cancelled leaves its steps as they were, and one that has
// not looked yet has not noticed that the time is over.
var listApprovals = pg.DefineRead("list_approvals", `
	SELECT step.run_id, run.workflow, step.step_name, step.request, step.started_at, step.wake_at
	FROM {schema}.workflow_steps AS step
	CROSS JOIN LATERAL (
	    SELECT workflow
	    FROM {schema}.workflow_runs
	    WHERE id = step.run_id AND status IN ('pending', 'running', 'suspended')
	    OFFSET 0
	) AS run
	WHERE step.kind = 'approval' AND step.status = 'scheduled'
	  AND step.started_at <= coalesce($1::bigint, 9223372036854775807)
	  AND (step.started_at < coalesce($1::bigint, 9223372036854775807) OR (step.run_id, step.step_name) > ($2::text, $3::text))
	  AND (step.wake_at IS NULL OR step.wake_at > {now_ms})
	  -- A JSON array contains a text if it is one of its elements.
	  AND ($4::text IS NULL OR step.request -> 'from' IS NULL OR step.request -> 'from' @> to_jsonb($4::text))
	ORDER BY step.started_at DESC, step.run_id, step.step_name
	LIMIT $5::bigint`)

type approvalRow struct {
	RunID     string        `db:"run_id"`
	Workflow  string        `db:"workflow"`
	Step      string        `db:"step_name"`
	Request   pg.JSONB      `db:"request"`
	StartedAt sql.NullInt64 `db:"started_at"`
	WakeAt    sql.NullInt64 `db:"wake_at"`
}

// ListApprovals returns a page of the approvals of unfinished runs that are neither decided nor out of time, newest first.
func (s *Store) ListApprovals(ctx context.Context, filter ApprovalFilter) (ApprovalPage, error) {
	at, runID, step, err := parseApprovalCursor(filter.Cursor)
	if err != nil {
		return ApprovalPage{}, pg.Problem("list approvals", err)
	}
	var rows []approvalRow
	err = s.db.List(ctx, &rows, listApprovals, at, runID, step, text(filter.From), int64(filter.Limit)+1)
	if err != nil {
		return ApprovalPage{}, pg.Problem("list approvals", err)
	}

	var page ApprovalPage
	if len(rows) > filter.Limit { // the one row more tells that there is a next page
		rows = rows[:filter.Limit]
		page.Next = rows[len(rows)-1].cursor()
	}
	for _, row := range rows {
		page.Approvals = append(page.Approvals, Approval{
			RunID: row.RunID, Workflow: row.Workflow, Step: row.Step, Request: json.RawMessage(row.Request),
			AskedAt: timeOf(row.StartedAt), Until: timeOf(row.WakeAt),
		})
	}
	return page, nil
}

// cursor is time.length.run and step: both may contain anything.
func (r approvalRow) cursor() string {
	return fmt.Sprintf("%d.%d.%s%s", r.StartedAt.Int64, len(r.RunID), r.RunID, r.Step)
}

// parseApprovalCursor returns a NULL and what is less than any name for none.
func parseApprovalCursor(cursor string) (startedAt any, runID, step string, err error) {
	if cursor == "" {
		return nil, "", "", nil
	}
	parts := strings.SplitN(cursor, ".", 3)
	if len(parts) == 3 {
		at, badTime := strconv.ParseInt(parts[0], 10, 64)
		n, badLength := strconv.Atoi(parts[1])
		if badTime == nil && badLength == nil && 0 <= n && n <= len(parts[2]) {
			return at, parts[2][:n], parts[2][n:], nil
		}
	}
	return nil, "", "", fmt.Errorf("ApprovalFilter.Cursor %q: %w: no page returned it as Next", cursor, ErrInvalidArgument)
}
