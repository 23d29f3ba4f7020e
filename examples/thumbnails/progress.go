package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

// showProgress tells how far the albums are until stop is called: on a terminal in a line that changes, elsewhere by a line a second.
func showProgress(ctx context.Context, out *os.File, db *sql.DB, runIDs []string) (stop func()) {
	every, format, last := time.Second, "%s\n", ""
	if info, err := out.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		every, format, last = 100*time.Millisecond, "\r\033[K%s", "\n"
	}
	var line string
	show := func() {
		now, err := howFar(ctx, db, runIDs)
		if err == nil && now != line {
			line = now
			fmt.Fprintf(out, format, line)
		}
	}
	done := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				show()
			case <-done:
				show()
				fmt.Fprint(out, last)
				return
			}
		}
	})
	return func() {
		close(done)
		showing.Wait()
	}
}

// The library's tables can be asked like any others. The pictures of an album are the children of its run.
const countPictures = `
	SELECT partition_key, count(*), count(*) FILTER (WHERE status IN ('completed', 'failed')), count(*) FILTER (WHERE status = 'running')
	FROM example_thumbnails.workflow_runs
	WHERE parent_id = ANY ($1)
	GROUP BY partition_key
	ORDER BY partition_key`

func howFar(ctx context.Context, db *sql.DB, runIDs []string) (string, error) {
	rows, err := db.QueryContext(ctx, countPictures, pq.Array(runIDs))
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var albums []string
	var all, done, running int
	for rows.Next() {
		var name string
		var n, ended, atWork int
		if err := rows.Scan(&name, &n, &ended, &atWork); err != nil {
			return "", err
		}
		albums = append(albums, fmt.Sprintf("%s %d of %d", name, ended, n))
		all, done, running = all+n, done+ended, running+atWork
	}
	line := fmt.Sprintf("  %4d of %d pictures, %d at work", done, all, running)
	if len(albums) > 0 && len(albums) <= 5 { // more would not fit a line
		line += ": " + strings.Join(albums, ", ")
	}
	return line, rows.Err()
}
