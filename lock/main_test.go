package lock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/lock"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(taskVariable); task != "" {
		if err := child(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is far longer than anything here should take, and ends a test that hangs.
const patience = time.Minute

// begin opens a transaction that is rolled back when the test ends, if not before.
func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			t.Logf("rollback: %v", err)
		}
	})
	return tx
}

func query[T any](t *testing.T, tx *sql.Tx, text string) T {
	t.Helper()
	var answer T
	if err := tx.QueryRowContext(t.Context(), text).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return answer
}

func execute(t *testing.T, tx *sql.Tx, text string) {
	t.Helper()
	if _, err := tx.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// accesses are all of them for the full matrix, else one of each driver, one of them pooled.
func accesses() []pgtest.Access {
	all := pgtest.Accesses
	if pgtest.Full() {
		return all
	}
	return []pgtest.Access{all[0], all[len(all)-1]}
}

// perAccess runs f on an empty database for each access.
func perAccess(t *testing.T, f func(t *testing.T, db *sql.DB)) {
	t.Helper()
	t.Parallel()
	for _, access := range accesses() {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			f(t, pgtest.Empty(t).Open(t, access))
		})
	}
}

var key = lock.NewKey("lock_test", "public", "thing", "1")
