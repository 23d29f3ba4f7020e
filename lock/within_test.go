package lock_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/lock"
)

func TestWithinRestoresLockTimeout(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		for _, old := range []string{"0", "1234ms", "90s", "1h"} {
			tx := kit.Begin(t, db)
			kit.Exec(t, tx, `SET LOCAL lock_timeout = '`+old+`'`)
			want := kit.One[string](t, tx, `SELECT current_setting('lock_timeout')`)
			var inside string
			err := lock.Within(t.Context(), tx, 1500*time.Microsecond, func(ctx context.Context) error {
				inside = kit.One[string](t, tx, `SELECT current_setting('lock_timeout')`)
				return nil
			})
			if err != nil || inside != "2ms" {
				t.Errorf("Within = %v with lock_timeout %s inside, want nil and 2ms", err, inside)
			}
			if got := kit.One[string](t, tx, `SELECT current_setting('lock_timeout')`); got != want {
				t.Errorf("lock_timeout = %s afterwards, want %s", got, want)
			}
			if err := tx.Commit(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWithinGrain(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		tests := map[time.Duration]string{
			-time.Second:                  "1ms",
			0:                             "1ms",
			time.Nanosecond:               "1ms",
			time.Millisecond + 1:          "2ms",
			10 * time.Second:              "10s",
			1<<63 - 1:                     "2147483647ms",
			100 * 24 * time.Hour:          "2147483647ms",
			2*time.Minute + 1*time.Second: "121s",
		}
		tx := kit.Begin(t, db)
		for wait, want := range tests {
			err := lock.Within(t.Context(), tx, wait, func(context.Context) error {
				if got := kit.One[string](t, tx, `SELECT current_setting('lock_timeout')`); got != want {
					t.Errorf("wait %s: lock_timeout = %s, want %s", wait, got, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// A row lock that is not free in time is ErrTimeout; what f did before is undone, what the caller did is not.
func TestWithinTimeoutLeavesTransactionUsable(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		createRows(t, db)
		holder, tx := kit.Begin(t, db), kit.Begin(t, db)
		kit.Exec(t, holder, `SELECT FROM rows WHERE id = 1 FOR UPDATE`)
		kit.Exec(t, tx, `INSERT INTO rows VALUES (2, 'caller')`)
		err := lock.Within(t.Context(), tx, 50*time.Millisecond, func(ctx context.Context) error {
			kit.Exec(t, tx, `INSERT INTO rows VALUES (3, 'f')`)
			_, err := tx.ExecContext(ctx, `UPDATE rows SET note = 'changed' WHERE id = 1`)
			return err
		})
		var state interface{ SQLState() string }
		if !errors.Is(err, lock.ErrTimeout) || !errors.As(err, &state) || state.SQLState() != "55P03" {
			t.Errorf("Within = %v, want ErrTimeout and 55P03", err)
		}
		kit.Must(t, tx.Commit())
		if got := kit.One[string](t, kit.Begin(t, db), `SELECT string_agg(note, ' ' ORDER BY id) FROM rows`); got != "first caller" {
			t.Errorf("rows = %q, want those of the caller only", got)
		}
	})
}

func TestWithinPassesErrorsThrough(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		createRows(t, db)
		tx := kit.Begin(t, db)
		mine := errors.New("mine")
		if err := lock.Within(t.Context(), tx, time.Second, func(context.Context) error { return mine }); err != mine {
			t.Errorf("Within = %v, want the error of f itself", err)
		}
		err := lock.Within(t.Context(), tx, time.Second, func(ctx context.Context) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO rows VALUES (1, 'again')`)
			return err
		})
		var state interface{ SQLState() string }
		if !errors.As(err, &state) || state.SQLState() != "23505" || errors.Is(err, lock.ErrTimeout) {
			t.Errorf("Within = %v, want 23505", err)
		}
		// f hides that its savepoint is broken: the caller still gets an error and a usable transaction.
		err = lock.Within(t.Context(), tx, time.Second, func(ctx context.Context) error {
			_, _ = tx.ExecContext(ctx, `INSERT INTO rows VALUES (1, 'again')`)
			return nil
		})
		if !errors.As(err, &state) || state.SQLState() != "25P02" {
			t.Errorf("Within = %v, want 25P02", err)
		}
		if got := kit.One[int](t, tx, `SELECT count(*) FROM rows`); got != 1 {
			t.Errorf("%d rows, want 1", got)
		}
	})
}

// A deadlock and a serialization failure must be seen as such, to be tried again.
func TestWithinKeepsDeadlock(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		one, two := kit.Begin(t, db), kit.Begin(t, db)
		for tx, k := range map[*sql.Tx]lock.Key{one: key, two: key + 1} {
			kit.Must(t, lock.Acquire(t.Context(), tx, k))
		}
		got := make(chan error, 2)
		go func() { got <- lock.AcquireWithin(t.Context(), one, key+1, kit.Patience) }()
		kit.Waiters(t, db, 1)
		go func() { got <- lock.AcquireWithin(t.Context(), two, key, kit.Patience) }()
		var state interface{ SQLState() string }
		if err := <-got; !errors.As(err, &state) || state.SQLState() != "40P01" || errors.Is(err, lock.ErrTimeout) {
			t.Errorf("AcquireWithin = %v, want 40P01", err)
		}
		// Whichever lost, its transaction is usable; ending both lets the other go on.
		_ = one.Rollback()
		_ = two.Rollback()
		t.Logf("the other: %v", <-got)
	})
}

func TestWithinKeepsSerializationFailure(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		createRows(t, db)
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		kit.Must(t, err)
		defer func() { _ = tx.Rollback() }()
		kit.One[int](t, tx, `SELECT count(*) FROM rows`)
		other := kit.Begin(t, db)
		kit.Exec(t, other, `UPDATE rows SET note = 'other'`)
		kit.Must(t, other.Commit())
		err = lock.Within(t.Context(), tx, time.Second, func(ctx context.Context) error {
			_, err := tx.ExecContext(ctx, `UPDATE rows SET note = 'mine'`)
			return err
		})
		var state interface{ SQLState() string }
		if !errors.As(err, &state) || state.SQLState() != "40001" {
			t.Errorf("Within = %v, want 40001", err)
		}
	})
}

// The inner bound ends with the inner call, and its failure is not the outer one's.
func TestWithinNests(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		holder, tx := kit.Begin(t, db), kit.Begin(t, db)
		kit.Must(t, lock.Acquire(t.Context(), holder, key))
		setting := func() string { return kit.One[string](t, tx, `SELECT current_setting('lock_timeout')`) }
		err := lock.Within(t.Context(), tx, 20*time.Second, func(ctx context.Context) error {
			if err := lock.AcquireWithin(ctx, tx, key, 20*time.Millisecond); !errors.Is(err, lock.ErrTimeout) {
				t.Errorf("inner = %v, want ErrTimeout", err)
			}
			if got := setting(); got != "20s" {
				t.Errorf("lock_timeout = %s after the inner timeout, want 20s", got)
			}
			err := lock.Within(ctx, tx, 3*time.Second, func(ctx context.Context) error { return nil })
			if got := setting(); got != "20s" {
				t.Errorf("lock_timeout = %s after the inner success, want 20s", got)
			}
			return err
		})
		if got := setting(); err != nil || got != "0" {
			t.Errorf("outer = %v, lock_timeout %s, want nil and 0", err, got)
		}
	})
}

// A context that ends while a statement is under way costs the transaction: both drivers drop the connection.
func TestWithinEndsWithContext(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		holder, tx := kit.Begin(t, db), kit.Begin(t, db)
		kit.Must(t, lock.Acquire(t.Context(), holder, key))
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() { got <- lock.AcquireWithin(ctx, tx, key, kit.Patience) }()
		kit.Waiters(t, db, 1)
		cancel()
		if err := kit.Receive(t, "the end of Acquire", got); !errors.Is(err, context.Canceled) || errors.Is(err, lock.ErrTimeout) {
			t.Errorf("AcquireWithin = %v, want context.Canceled", err)
		}
	})
}

// A context that ends between two statements costs nothing: f's work is undone and the transaction usable.
func TestWithinUndoesAfterContext(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		createRows(t, db)
		tx := kit.Begin(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		err := lock.Within(ctx, tx, time.Second, func(ctx context.Context) error {
			kit.Exec(t, tx, `INSERT INTO rows VALUES (2, 'f')`)
			cancel()
			return ctx.Err()
		})
		if err != context.Canceled {
			t.Errorf("Within = %v, want context.Canceled as f returned it", err)
		}
		if got := kit.One[int](t, tx, `SELECT count(*) FROM rows`); got != 1 {
			t.Errorf("%d rows, want 1", got)
		}
	})
}

func createRows(t *testing.T, db *sql.DB) {
	t.Helper()
	kit.Exec(t, db, `CREATE TABLE rows (id int PRIMARY KEY, note text); INSERT INTO rows VALUES (1, 'first')`)
}
