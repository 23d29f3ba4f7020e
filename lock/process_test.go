package lock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
)

const (
	processes  = 4
	goroutines = 4
	increments = 20 // of each goroutine
)

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
			kit.Exec(t, db, `CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)`)
			kit.Crowd(t, processes, task{access.Driver, database.AccessURL(t, access)})
			if got, want := kit.One[int](t, db, `SELECT n FROM counter`), processes*goroutines*increments; got != want {
				t.Errorf("counter = %d, want %d: updates were lost", got, want)
			}
		})
	}
}

// child is what such a process does.
func child(todo task) error {
	db, err := sql.Open(todo.Driver, todo.URL)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxIdleConns(goroutines)
	return errors.Join(kit.Together(goroutines, func(int) error {
		for range increments {
			if err := increment(db); err != nil {
				return err
			}
		}
		return nil
	})...)
}

func increment(db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*kit.Patience)
	defer cancel()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := lock.AcquireWithin(ctx, tx, key, kit.Patience); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT n FROM counter`).Scan(&n); err != nil {
		return err
	}
	kit.Pause(ctx, time.Millisecond) // room for another to come between
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`UPDATE counter SET n = %d`, n+1)); err != nil {
		return err
	}
	return tx.Commit()
}
