package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"strings"

	"github.com/lib/pq"
)

// verify prints what the database says, and returns what is not as it was promised.
func verify(ctx context.Context, db *sql.DB, pictures int, seen sample, killed killed) error {
	fmt.Println("\nWhat the database says:")
	return errors.Join(
		checkLimits(ctx, db, seen),
		checkTurns(ctx, db, killed),
		checkKilled(ctx, db, killed),
		checkRuns(ctx, db, pictures),
		checkFiles(ctx, db),
	)
}

func checkLimits(ctx context.Context, db *sql.DB, seen sample) error {
	var running, byWorker int
	err := db.QueryRowContext(ctx, `SELECT max_running, max_per_worker FROM example_thumbnails.workflow_queues WHERE name = 'thumbnails'`).
		Scan(&running, &byWorker)
	if err != nil {
		return err
	}
	fmt.Printf("  most running at once    %d of %d allowed; in one process %d of %d (in %d looks)\n",
		seen.running, running, seen.byWorker, byWorker, seen.looks)
	if seen.running > running || seen.byWorker > byWorker {
		return errors.New("a limit did not hold")
	}
	if seen.running < running {
		return errors.New("there was work, and the limit was never reached")
	}
	return nil
}

// checkTurns counts the pictures that were begun while each album had some that waited: as many of each, within 10 % and the five that
// were at work in the end. What the dead worker was at is left out, as it began anew when nothing else of its album may have waited.
func checkTurns(ctx context.Context, db *sql.DB, killed killed) error {
	rows, err := db.QueryContext(ctx, `
		WITH begun AS (
		    SELECT run.partition_key AS album, run.created_at, step.started_at
		    FROM example_thumbnails.workflow_runs AS run
		    JOIN example_thumbnails.workflow_steps AS step ON step.run_id = run.id
		    WHERE run.queue = 'thumbnails' AND run.id <> ALL ($1)
		), span AS (
		    SELECT max(of_album.first) AS since, min(of_album.last) AS until
		    FROM (SELECT min(created_at) AS first, max(started_at) AS last FROM begun GROUP BY album) AS of_album
		)
		SELECT begun.album, count(*)
		FROM begun
		JOIN span ON begun.started_at BETWEEN span.since AND span.until
		GROUP BY begun.album
		ORDER BY begun.album`, pq.Array(killed.runs))
	if err != nil {
		return err
	}
	defer rows.Close()
	var turns []string
	var least, most int
	for rows.Next() {
		var album string
		var n int
		if err := rows.Scan(&album, &n); err != nil {
			return err
		}
		if turns = append(turns, fmt.Sprintf("%s %d", album, n)); len(turns) == 1 {
			least, most = n, n
		}
		least, most = min(least, n), max(most, n)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	fmt.Printf("  whose turn it was       %s (pictures begun, as long as all albums had some that waited)\n", strings.Join(turns, ", "))
	if len(turns) != len(load) || most-least > 5+most/10 {
		return errors.New("the albums did not take turns")
	}
	return nil
}

// checkKilled tells what became of the pictures that the dead worker was at.
func checkKilled(ctx context.Context, db *sql.DB, killed killed) error {
	rows, err := db.QueryContext(ctx, `
		SELECT coalesce(run.output ->> 'By', 'nobody'), step.started_at - $2
		FROM example_thumbnails.workflow_runs AS run
		JOIN example_thumbnails.workflow_steps AS step ON step.run_id = run.id
		WHERE run.id = ANY ($1) AND run.status IN ('completed', 'failed')
		ORDER BY step.started_at`, pq.Array(killed.runs), killed.at)
	if err != nil {
		return err
	}
	defer rows.Close()
	var takenOver []string
	for rows.Next() {
		var by string
		var after int
		if err := rows.Scan(&by, &after); err != nil {
			return err
		}
		if by == killed.name {
			return fmt.Errorf("%s has finished a picture after its death", by)
		}
		takenOver = append(takenOver, fmt.Sprintf("%.1f s later by %s", float64(after)/1000, by))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	fmt.Printf("  what %s was at          held its places until the lease ended, then queued again; begun anew %s\n",
		killed.name, strings.Join(takenOver, ", "))
	if len(takenOver) != len(killed.runs) {
		return fmt.Errorf("%d pictures of the dead worker were left", len(killed.runs)-len(takenOver))
	}
	return nil
}

// Each row names a fault and says how often it is there.
const faults = `
	WITH pictures AS (
	    SELECT * FROM example_thumbnails.workflow_runs WHERE queue = 'thumbnails'
	)
	SELECT 'albums that are not done', $1 - count(*)
	FROM example_thumbnails.workflow_runs WHERE workflow = 'album' AND status = 'completed'
	UNION ALL
	SELECT 'pictures without a run that has ended', $2 - count(*)
	FROM pictures WHERE status IN ('completed', 'failed')
	UNION ALL
	SELECT 'pictures that could not be read, besides the broken one', count(*) - 1
	FROM pictures WHERE status = 'failed'
	UNION ALL
	SELECT 'thumbnails that were made twice', count(*) - count(DISTINCT output ->> 'File')
	FROM pictures WHERE status = 'completed'
	UNION ALL
	SELECT 'runs that did not wait in the partition of their album', count(*)
	FROM pictures
	JOIN example_thumbnails.workflow_runs AS album ON album.id = pictures.parent_id
	WHERE pictures.partition_key <> album.input ->> 'Name'`

func checkRuns(ctx context.Context, db *sql.DB, pictures int) error {
	rows, err := db.QueryContext(ctx, faults, len(load), pictures)
	if err != nil {
		return err
	}
	defer rows.Close()
	var found []error
	for rows.Next() {
		var fault string
		var n int
		if err := rows.Scan(&fault, &n); err != nil {
			return err
		}
		if n != 0 {
			found = append(found, fmt.Errorf("%s: %d", fault, n))
		}
	}
	return errors.Join(append(found, rows.Err())...)
}

// checkFiles looks at the files that the database says are there.
func checkFiles(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `
		SELECT output ->> CASE WHEN queue IS NULL THEN 'Sheet' ELSE 'File' END
		FROM example_thumbnails.workflow_runs WHERE status = 'completed'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var path string
		if err := rows.Scan(&path); err != nil {
			return err
		}
		if err := checkFile(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	fmt.Printf("  files                   %d thumbnails and contact sheets, all of them whole\n", n)
	return rows.Err()
}

func checkFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, _, err = image.Decode(file)
	return err
}
