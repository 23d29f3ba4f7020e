package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow"
)

// printReport tells what has become of the albums, who has made the thumbnails, and in which order: all of it from the database.
func printReport(ctx context.Context, out io.Writer, db *sql.DB, service *workflow.Service, runIDs []string) error {
	if err := printAlbums(ctx, out, service, runIDs); err != nil {
		return err
	}
	if err := printWorkers(ctx, out, db, runIDs); err != nil {
		return err
	}
	return printTurns(ctx, out, db, runIDs)
}

func printAlbums(ctx context.Context, out io.Writer, service *workflow.Service, runIDs []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "\nalbum\tdone after\tcontact sheet\tcould not be read")
	for _, runID := range runIDs {
		run, err := service.GetRun(ctx, runID)
		if err != nil {
			return err
		}
		var a Album
		var made Made
		if err := run.DecodeInput(&a); err != nil {
			return err
		}
		if err := run.DecodeOutput(&made); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%.1f s\t%s\t%s\n",
			a.Name, run.UpdatedAt.Sub(run.CreatedAt).Seconds(), made.Sheet, strings.Join(made.Unreadable, ", "))
	}
	return w.Flush()
}

func printWorkers(ctx context.Context, out io.Writer, db *sql.DB, runIDs []string) error {
	rows, err := db.QueryContext(ctx, `
		SELECT output ->> 'By', count(*)
		FROM example_thumbnails.workflow_runs
		WHERE parent_id = ANY ($1) AND status = 'completed'
		GROUP BY 1
		ORDER BY 1`, pq.Array(runIDs))
	if err != nil {
		return err
	}
	defer rows.Close()
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "\nworker\tthumbnails")
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%d\n", name, n)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return w.Flush()
}

// printTurns prints a letter for each picture, in the order in which they were begun.
func printTurns(ctx context.Context, out io.Writer, db *sql.DB, runIDs []string) error {
	rows, err := db.QueryContext(ctx, `
		SELECT left(run.partition_key, 1)
		FROM example_thumbnails.workflow_runs AS run
		JOIN example_thumbnails.workflow_steps AS step ON step.run_id = run.id
		WHERE run.parent_id = ANY ($1)
		ORDER BY step.started_at, run.partition_key`, pq.Array(runIDs))
	if err != nil {
		return err
	}
	defer rows.Close()
	fmt.Fprintln(out, "\nWhose turn it was: the first letter of the album, for each picture in the order in which they were begun.")
	n := 0
	for ; rows.Next(); n++ {
		var letter string
		if err := rows.Scan(&letter); err != nil {
			return err
		}
		if n%100 == 0 {
			fmt.Fprint(out, "\n  ")
		}
		fmt.Fprint(out, letter)
	}
	fmt.Fprintln(out)
	return rows.Err()
}
