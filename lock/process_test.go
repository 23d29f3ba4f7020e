package lock_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
)

const (
	processes  = 4
	goroutines = 4
	increments = 20 // of each goroutine
)

// taskVariable carries a task to the re-executed test binary, see TestMain.
const taskVariable = "LOCK_TEST_TASK"

type task struct{ Driver, URL string }

// Several processes raise one number by reading it and writing it back; the lock alone keeps them from
// overwriting one another.
func TestNoLostUpdate(t *testing.T) {
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Empty(t)
			db := database.Open(t, access)
			if _, err := db.ExecContext(t.Context(), `CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)`); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(task{access.Driver, database.AccessURL(t, access)})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range processes {
				wg.Go(func() { runChild(t, string(text)) })
			}
			wg.Wait()
			if got, want := query[int](t, begin(t, db), `SELECT n FROM counter`), processes*goroutines*increments; got != want {
				t.Errorf("counter = %d, want %d: updates were lost", got, want)
			}
		})
	}
}

func runChild(t *testing.T, text string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), taskVariable+"="+text, "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("child: %v: %s", err, out.Bytes())
	}
}

// child is what such a process does.
func child(text string) error {
	var todo task
	if err := json.Unmarshal([]byte(text), &todo); err != nil {
		return err
	}
	db, err := sql.Open(todo.Driver, todo.URL)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxIdleConns(goroutines)
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for range increments {
				if errs[i] = increment(db); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func increment(db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := lock.AcquireWithin(ctx, tx, key, patience); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT n FROM counter`).Scan(&n); err != nil {
		return err
	}
	time.Sleep(time.Millisecond) // room for another to come between
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`UPDATE counter SET n = %d`, n+1)); err != nil {
		return err
	}
	return tx.Commit()
}
