package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sqlworkflow/workflow"
)

// A report says how the lines of a file ended, by what is in the database.
type report struct {
	lines     int
	completed int
	failures  []string // in the order of the lines
	reasons   map[string]int
	first     time.Time // when the first run was created
	last      time.Time // when the last one ended
	facts     facts
}

// facts are the shop's side, and what its own tables do not tell but the library's do.
type facts struct {
	sold       int // orders that are reserved, charged and confirmed
	twice      int // steps whose effect is there twice
	unbalanced int // articles of which more or less is missing than is reserved
	charges    int
	requests   int // for charges; more than charges when answers were lost
	retried    int // attempts of steps that failed and were made again
}

func newReport(ctx context.Context, service *workflow.Service, db *sql.DB, lines []Line) (*report, error) {
	r := &report{lines: len(lines), reasons: make(map[string]int)}
	runs, err := listRuns(ctx, service)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		run, found := runs[line.ID()]
		if !found {
			continue
		}
		r.add(line, run)
	}
	return r, r.facts.read(ctx, db, lines[0].File)
}

// listRuns returns all runs of the workflow by their ids.
func listRuns(ctx context.Context, service *workflow.Service) (map[string]workflow.Run, error) {
	runs := make(map[string]workflow.Run)
	filter := workflow.RunFilter{Workflow: workflowName, Limit: 1000}
	for {
		page, err := service.ListRuns(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, run := range page.Runs {
			runs[run.ID] = run
		}
		if page.Next == "" {
			return runs, nil
		}
		filter.Cursor = page.Next
	}
}

func (r *report) add(line Line, run workflow.Run) {
	switch run.Status {
	case workflow.RunCompleted:
		r.completed++
	case workflow.RunFailed:
		reason, message := "other", fmt.Sprintf("line %d: %v", line.Number, run.Err) // such as a database that was away
		var refused *workflow.Error
		if errors.As(run.Err, &refused) && refused.Code != "" {
			reason, message = string(refused.Code), refused.Message
		}
		r.reasons[reason]++
		r.failures = append(r.failures, message)
	}
	if r.first.IsZero() || run.CreatedAt.Before(r.first) {
		r.first = run.CreatedAt
	}
	if run.UpdatedAt.After(r.last) {
		r.last = run.UpdatedAt
	}
}

func (f *facts) read(ctx context.Context, db *sql.DB, file string) error {
	err := db.QueryRowContext(ctx, `
		SELECT
		    (SELECT count(*)
		     FROM example_shop.orders AS o
		     WHERE o.file = $1
		       AND EXISTS (SELECT FROM example_shop.reservations WHERE order_number = o.number)
		       AND EXISTS (SELECT FROM example_shop.payments WHERE reference = o.number)
		       AND EXISTS (SELECT FROM example_shop.confirmations WHERE order_number = o.number)),
		    (SELECT count(*)
		     FROM (SELECT FROM example_shop.reservations GROUP BY order_number HAVING count(*) > 1
		           UNION ALL
		           SELECT FROM example_shop.payments GROUP BY reference HAVING count(*) > 1
		           UNION ALL
		           SELECT FROM example_shop.confirmations GROUP BY order_number HAVING count(*) > 1) AS twice),
		    (SELECT count(*)
		     FROM example_shop.articles AS a
		     WHERE a.delivered <> a.stock + (
		         SELECT coalesce(sum(quantity), 0) FROM example_shop.reservations WHERE article = a.code)),
		    (SELECT count(*) FROM example_shop.payments JOIN example_shop.orders ON number = reference WHERE file = $1),
		    (SELECT coalesce(sum(requests), 0)
		     FROM example_shop.payments JOIN example_shop.orders ON number = reference WHERE file = $1),
		    (SELECT coalesce(sum(jsonb_array_length(attempts -> 'failures')), 0) - count(*) FILTER (WHERE status = 'failed')
		     FROM example_workflows.workflow_steps WHERE starts_with(run_id, $1 || ':'))`,
		file).Scan(&f.sold, &f.twice, &f.unbalanced, &f.charges, &f.requests, &f.retried)
	if err != nil {
		return fmt.Errorf("ask the tables: %w", err)
	}
	return nil
}

// verify returns an error when anything was lost or happened twice, which would be our fault; a bad line is the file's.
func (r *report) verify() error {
	switch {
	case r.completed+len(r.failures) != r.lines:
		return fmt.Errorf("%d lines, but %d runs have ended", r.lines, r.completed+len(r.failures))
	case r.completed != r.facts.sold:
		return fmt.Errorf("%d runs completed, but %d orders are sold", r.completed, r.facts.sold)
	case r.facts.twice != 0:
		return fmt.Errorf("steps that ran twice: %d", r.facts.twice)
	case r.facts.unbalanced != 0:
		return fmt.Errorf("stock that does not balance: %d articles", r.facts.unbalanced)
	}
	return nil
}

const maxFailures = 30 // shown

func (r *report) print(out io.Writer) {
	if len(r.failures) > 0 {
		fmt.Fprintln(out, "\nThese lines failed; the others went on:")
	}
	for i, failure := range r.failures {
		if i == maxFailures {
			fmt.Fprintf(out, "  and %d more\n", len(r.failures)-i)
			break
		}
		fmt.Fprintln(out, "  "+failure)
	}

	balanced := "yes"
	if r.facts.unbalanced != 0 {
		balanced = "NO"
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	row("")
	row("orders completed\t%d", r.completed)
	row("orders failed\t%d", len(r.failures))
	reasons := slices.SortedFunc(maps.Keys(r.reasons), func(a, b string) int {
		return cmp.Or(r.reasons[b]-r.reasons[a], strings.Compare(a, b))
	})
	for _, reason := range reasons {
		row("  %s\t%d", reason, r.reasons[reason])
	}
	row("steps that ran twice\t%d\t(an order reserved, charged or confirmed more than once)", r.facts.twice)
	row("charges\t%d\t(requested %d times; a repeated request is answered with the first charge)", r.facts.charges, r.facts.requests)
	row("attempts that failed\t%d\t(and were made again: the provider does not always answer)", r.facts.retried)
	row("stock ledger balanced\t%s\t(delivered = left + reserved, for each article)", balanced)
	row("time\t%.1f s\t(from the first order to the last)", r.last.Sub(r.first).Seconds())
	w.Flush()
}
