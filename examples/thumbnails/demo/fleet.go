package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

// A fleet is the worker processes that the demo has started.
type fleet struct {
	ctx     context.Context // ends when one of them fails
	fail    context.CancelCauseFunc
	binary  string
	slow    time.Duration
	workers []*worker
}

type worker struct {
	name     string
	cmd      *exec.Cmd
	log      bytes.Buffer
	expected atomic.Bool // its end
	ended    chan struct{}
}

func newFleet(ctx context.Context, binary string, slow time.Duration) *fleet {
	ctx, fail := context.WithCancelCause(ctx)
	return &fleet{ctx: ctx, fail: fail, binary: binary, slow: slow}
}

// start adds a worker.
func (f *fleet) start() error {
	w := &worker{name: fmt.Sprintf("w%d", len(f.workers)+1), ended: make(chan struct{})}
	w.cmd = exec.CommandContext(f.ctx, f.binary, "work", "-name", w.name, "-slow", f.slow.String())
	w.cmd.Env = append(os.Environ(), "PGAPPNAME="+w.name) // what the server calls its connections
	w.cmd.Stdout, w.cmd.Stderr = &w.log, &w.log
	w.cmd.Cancel = func() error { // it finishes what it is at
		w.expected.Store(true)
		return w.cmd.Process.Signal(os.Interrupt)
	}
	w.cmd.WaitDelay = 10 * time.Second
	if err := w.cmd.Start(); err != nil {
		return err
	}
	f.workers = append(f.workers, w)
	go func() {
		defer close(w.ended)
		if err := w.cmd.Wait(); !w.expected.Load() {
			f.fail(fmt.Errorf("worker %s has ended by itself: %w\n%s", w.name, err, w.log.String()))
		}
	}()
	return nil
}

// stop asks all workers to end, and waits for that.
func (f *fleet) stop() {
	f.fail(nil)
	for _, w := range f.workers {
		<-w.ended
	}
}

// killed is a worker that was killed, and what it was at: the runs that are its own, and whose step is not recorded.
type killed struct {
	name string
	at   int64 // by the database's clock
	runs []string
}

// killOne kills a worker in the middle of its work, when a fifth of the pictures are done, and starts another in its place, as a
// supervisor would. If that worker had finished everything at that very moment, it takes the next.
func (f *fleet) killOne(db *sql.DB) (killed, error) {
	for {
		w, err := f.busy(db)
		if err != nil {
			return killed{}, err
		}
		k, err := f.kill(db, w)
		if err != nil {
			return killed{}, err
		}
		if err := f.start(); err != nil {
			return killed{}, err
		}
		if len(k.runs) > 0 {
			fmt.Printf("\n  Killed (SIGKILL): %s, with %d pictures in its hands. %s takes its place.\n",
				k.name, len(k.runs), f.workers[len(f.workers)-1].name)
			return k, nil
		}
	}
}

// busy waits until a fifth of the pictures are done, and returns a worker that is at some.
func (f *fleet) busy(db *sql.DB) (*worker, error) {
	for {
		if err := pause(f.ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
		var pid int
		err := db.QueryRowContext(f.ctx, `
			SELECT worker.pid
			FROM example_thumbnails.workflow_workers AS worker
			JOIN example_thumbnails.workflow_runs AS run ON run.owner = worker.id AND run.queue = 'thumbnails'
			WHERE 0.2 <= (
			    SELECT avg(CASE WHEN status IN ('completed', 'failed') THEN 1 ELSE 0 END)
			    FROM example_thumbnails.workflow_runs WHERE queue = 'thumbnails')
			GROUP BY worker.pid
			ORDER BY count(*) DESC
			LIMIT 1`).Scan(&pid)
		if errors.Is(err, sql.ErrNoRows) || notThere(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, w := range f.workers {
			if w.cmd.Process.Pid == pid && !w.expected.Load() {
				return w, nil
			}
		}
	}
}

func (f *fleet) kill(db *sql.DB, w *worker) (killed, error) {
	k := killed{name: w.name}
	w.expected.Store(true)
	if err := w.cmd.Process.Kill(); err != nil {
		return k, err
	}
	<-w.ended
	for connected := 1; connected > 0; { // until the server has dealt with what it had sent before
		err := db.QueryRowContext(f.ctx, `
			SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`, w.name).Scan(&connected)
		if err := errors.Join(err, pause(f.ctx, 5*time.Millisecond)); err != nil {
			return k, err
		}
	}
	// A run whose step is recorded is only to be ended: its thumbnail stays.
	return k, db.QueryRowContext(f.ctx, `
		SELECT floor(extract(epoch FROM clock_timestamp()) * 1000), coalesce(array_agg(run.id), '{}')
		FROM example_thumbnails.workflow_workers AS worker
		JOIN example_thumbnails.workflow_runs AS run ON run.owner = worker.id AND run.queue = 'thumbnails'
		WHERE worker.pid = $1
		  AND NOT EXISTS (SELECT FROM example_thumbnails.workflow_steps WHERE run_id = run.id)`,
		w.cmd.Process.Pid).Scan(&k.at, pq.Array(&k.runs))
}

// notThere is true while tables are yet to be made.
func notThere(err error) bool {
	var problem *pq.Error
	return errors.As(err, &problem) && (problem.Code.Name() == "undefined_table" || problem.Code.Name() == "undefined_column")
}

// pause returns early, with an error, when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
