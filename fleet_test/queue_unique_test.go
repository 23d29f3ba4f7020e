package fleet_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// uniqueKeys is how many keys a crowd starts runs of.
const uniqueKeys = 4

// askedTable has a row for each time that somebody was given a handle. What transactions before committed was there when it asked.
const askedTable = `CREATE TABLE asked (key INT NOT NULL, run_id TEXT NOT NULL, before BIGINT NOT NULL)`

func uniqueTask(key int) (task, []workflow.StartOption) {
	options := []workflow.StartOption{workflow.WithQueue("unique"), workflow.WithUnique(fmt.Sprint("key ", key))}
	return task{N: key, Takes: 5 * time.Millisecond}, options
}

// startUnique starts runs of a few keys, again and again, each third time in a transaction with a row of its own, until its process
// ends. As an application would, it tries again: on a busy machine the server may end a transaction that was idle for a lease.
func startUnique(db *sql.DB, svc *workflow.Service) {
	for failed := 0; ; {
		err := startOneUnique(context.Background(), db, svc, rand.IntN(uniqueKeys))
		if err == nil {
			failed = 0
		} else if failed++; failed == 4 {
			fmt.Fprintln(os.Stderr, "start unique:", err)
			os.Exit(1)
		}
		kit.Pause(context.Background(), rand.N(5*time.Millisecond))
	}
}

func startOneUnique(ctx context.Context, db *sql.DB, svc *workflow.Service, key int) error {
	var before int64
	if err := db.QueryRowContext(ctx, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint").Scan(&before); err != nil {
		return err
	}
	do, options := uniqueTask(key)
	const tell = "INSERT INTO asked (key, run_id, before) VALUES ($1, $2, $3)"
	if rand.N(3) > 0 {
		handle, err := chore().Start(ctx, svc, do, options...)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, tell, key, handle.RunID(), before)
		return err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit: no effect
	handle, err := chore().Start(ctx, svc.In(tx), do, options...)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, tell, key, handle.RunID(), before); err != nil {
		return err
	}
	if rand.N(4) == 0 {
		return tx.Rollback()
	}
	return tx.Commit()
}

// Many processes start runs of the same keys at once, in transactions and without, execute them, and are killed. There are never two
// unfinished runs of one key, nobody is given a run that had ended before it asked, and a key is free again when its run has ended.
func TestUniqueRunsFromManyProcesses(t *testing.T) {
	t.Parallel()
	processes, want := sized(3, 8, 8), sized(60, 300, 10_000)
	f, svc := setupQueues(t, workflow.Queue{Name: "unique", MaxRunning: 2})
	f.exec(askedTable)
	pack := f.release(processes, job{Does: "unique"}, 700*time.Millisecond)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(3 * time.Millisecond):
			}
			if twice := f.lines(`SELECT unique_key || ': ' || count(*) FROM workflows.workflow_runs
				WHERE status IN ('pending', 'running', 'suspended') GROUP BY unique_key HAVING count(*) > 1`); len(twice) > 0 {
				t.Errorf("unfinished runs of one key: %v", twice)
				return
			}
		}
	})
	kit.Until(t, "many runs have been started", func() bool {
		return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed'") > want && pack.deaths() > 2
	})
	killed := pack.stop()
	close(over)
	watching.Wait()

	// What was left behind goes on elsewhere, and afterwards each key is free.
	worker := f.service(f.db, nil)
	worker.Register(chore())
	kit.Work(t, worker)
	f.untilAllEnd()
	for key := range uniqueKeys {
		do, options := uniqueTask(key)
		handle, err := chore().Start(t.Context(), svc, do, options...)
		kit.Must(t, err)
		if n := f.count("SELECT count(*) FROM asked WHERE run_id = $1", handle.RunID()); n != 0 {
			t.Errorf("the key of a run that has ended is not free: %s", handle.RunID())
		}
		if got, err := handle.Result(kit.Context(t)); err != nil || got != key {
			t.Errorf("key %d: %d, %v", key, got, err)
		}
	}
	runs, asked := f.count("SELECT count(*) FROM workflows.workflow_runs"), f.count("SELECT count(*) FROM asked")
	t.Logf("%d runs for %d starts, %d processes killed", runs, asked, killed)
	if asked <= runs {
		t.Errorf("%d runs for %d starts: the test shows nothing", runs, asked)
	}
	if late := f.lines(`
		SELECT asked.run_id FROM asked
		LEFT JOIN history AS ended ON ended.run_id = asked.run_id AND step IS NULL AND is_now = 'completed'
		WHERE ended.xmin::text::bigint < asked.before OR NOT EXISTS (
		    SELECT FROM workflows.workflow_runs WHERE id = asked.run_id AND unique_key = 'key ' || asked.key)`); len(late) > 0 {
		t.Errorf("%d handles to runs that had ended, or are not there: %v", len(late), late[:min(len(late), 5)])
	}
	f.checkClaims(workflow.Queue{Name: "unique", MaxRunning: 2})
	f.checkChores(runs)
}

// While a run of a key is unfinished another input is a conflict, which leaves the caller's transaction usable; and a run that failed
// cannot come back while another one has its key.
func TestUniqueConflicts(t *testing.T) {
	t.Parallel()
	f, svc := setupQueues(t, workflow.Queue{Name: "unique"})
	ctx := t.Context()
	start := func(on workflow.Session, n int) (string, error) {
		handle, err := chore().Start(ctx, on, task{N: n}, workflow.WithQueue("unique"), workflow.WithUnique("key"))
		if err != nil {
			return "", err
		}
		return handle.RunID(), nil
	}
	first, err := start(svc, 1)
	kit.Must(t, err)
	tx := kit.Begin(t, f.db)
	if _, err := start(svc.In(tx), 2); !errors.Is(err, workflow.ErrRunConflict) {
		t.Errorf("another input: %v, want ErrRunConflict", err)
	}
	if again, err := start(svc.In(tx), 1); err != nil || again != first {
		t.Errorf("again: %s, %v; want %s", again, err, first)
	}
	kit.Must(t, tx.Commit())
	kit.Must(t, svc.Cancel(ctx, first))
	second, err := start(svc, 2)
	kit.Must(t, err)
	if second == first {
		t.Error("the run that was cancelled came back")
	}
	tx = kit.Begin(t, f.db)
	if err := svc.In(tx).Resume(ctx, first); !errors.Is(err, workflow.ErrUniqueTaken) {
		t.Errorf("resume: %v, want ErrUniqueTaken", err)
	}
	if got := kit.One[int](t, tx, "SELECT 1"); got != 1 {
		t.Error("the transaction is not usable")
	}
	kit.Must(t, tx.Commit())
	kit.Must(t, svc.Cancel(ctx, second))
	kit.Must(t, svc.Resume(ctx, first))
	if _, err := start(svc, 2); !errors.Is(err, workflow.ErrRunConflict) {
		t.Errorf("beside the run that came back: %v, want ErrRunConflict", err)
	}
	worker := f.service(f.db, nil)
	worker.Register(chore())
	kit.Work(t, worker)
	f.untilAllEnd()
	f.verify()
}
