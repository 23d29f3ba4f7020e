package main

import (
	"context"
	"database/sql"
	"time"
)

// A sample is what was seen running, at most.
type sample struct {
	looks    int
	running  int // at once, in the whole fleet
	byWorker int // at once, in one process
	err      error
}

// The limits count these rows, and nothing else: so can we.
const countRunning = `
	SELECT coalesce(sum(n), 0), coalesce(max(n), 0)
	FROM (
	    SELECT count(*) AS n
	    FROM example_thumbnails.workflow_runs
	    WHERE queue = 'thumbnails' AND status = 'running'
	    GROUP BY owner
	) AS by_worker`

// A watcher looks every few milliseconds at what is running.
type watcher struct {
	cancel context.CancelFunc
	seen   chan sample
}

func watch(ctx context.Context, db *sql.DB) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{cancel: cancel, seen: make(chan sample, 1)}
	go func() {
		var s sample
		for s.err == nil && pause(ctx, 2*time.Millisecond) == nil {
			s.look(ctx, db)
		}
		w.seen <- s
	}()
	return w
}

// stop returns what was seen.
func (w *watcher) stop() sample {
	w.cancel()
	return <-w.seen
}

func (s *sample) look(ctx context.Context, db *sql.DB) {
	var running, byWorker int
	err := db.QueryRowContext(ctx, countRunning).Scan(&running, &byWorker)
	switch {
	case err == nil:
		s.looks++
		s.running, s.byWorker = max(s.running, running), max(s.byWorker, byWorker)
	case ctx.Err() == nil && !notThere(err):
		s.err = err
	}
}
