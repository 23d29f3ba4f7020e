package lock_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/internal/server"
	"github.com/sqlworkflow/workflow/lock"
)

func TestTryAcquire(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		holder, other := kit.Begin(t, db), kit.Begin(t, db)
		try := func(tx *sql.Tx, key lock.Key, want bool) {
			t.Helper()
			if ok, err := lock.TryAcquire(t.Context(), tx, key); ok != want || err != nil {
				t.Errorf("TryAcquire = %t, %v, want %t", ok, err, want)
			}
		}
		try(holder, key, true)
		try(holder, key, true) // again in the same transaction
		try(other, key, false)
		try(other, key+1, true)
		kit.Must(t, holder.Commit())
		try(other, key, true)
	})
}

func TestAcquireWaitsForTheEndOfTheTransaction(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
			holder, waiter := kit.Begin(t, db), kit.Begin(t, db)
			kit.Must(t, lock.Acquire(t.Context(), holder, key))
			got := make(chan error, 1)
			go func() { got <- lock.Acquire(t.Context(), waiter, key) }()
			kit.Waiters(t, db, 1)
			kit.Must(t, end(holder))
			if err := <-got; err != nil {
				t.Error(err)
			}
			if err := waiter.Rollback(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAcquireEndsWithContext(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		holder, waiter := kit.Begin(t, db), kit.Begin(t, db)
		kit.Must(t, lock.Acquire(t.Context(), holder, key))
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() { got <- lock.Acquire(ctx, waiter, key) }()
		kit.Waiters(t, db, 1)
		cancel()
		if err := kit.Receive(t, "the end of Acquire", got); !errors.Is(err, context.Canceled) || errors.Is(err, lock.ErrTimeout) {
			t.Errorf("Acquire = %v, want context.Canceled", err)
		}
	})
}

func TestAcquireWithin(t *testing.T) {
	perAccess(t, func(t *testing.T, db *sql.DB) {
		holder, waiter := kit.Begin(t, db), kit.Begin(t, db)
		for range 2 {
			kit.Must(t, lock.AcquireWithin(t.Context(), holder, key, time.Millisecond))
		}
		kit.Exec(t, waiter, `SET LOCAL lock_timeout = '17s'`)
		const wait = 150 * time.Millisecond
		start := time.Now()
		err := lock.AcquireWithin(t.Context(), waiter, key, wait)
		if !errors.Is(err, lock.ErrTimeout) {
			t.Errorf("AcquireWithin = %v, want ErrTimeout", err)
		}
		if took := time.Since(start); took < wait || took > kit.Patience/2 {
			t.Errorf("gave up after %s, want %s", took, wait)
		}
		if got := kit.One[string](t, waiter, `SELECT current_setting('lock_timeout')`); got != "17s" {
			t.Errorf("lock_timeout = %s afterwards, want 17s", got)
		}

		// The transaction is usable: the lock can be taken in it once it is free.
		got := make(chan error, 1)
		go func() { got <- lock.AcquireWithin(t.Context(), waiter, key, kit.Patience) }()
		kit.Waiters(t, db, 1)
		kit.Must(t, holder.Commit())
		kit.Must(t, <-got)
		third := kit.Begin(t, db)
		if ok, err := lock.TryAcquire(t.Context(), third, key); ok || err != nil {
			t.Errorf("TryAcquire = %t, %v though AcquireWithin holds the lock", ok, err)
		}
		if got := kit.One[string](t, waiter, `SELECT current_setting('lock_timeout')`); got != "17s" {
			t.Errorf("lock_timeout = %s after success, want 17s", got)
		}
	})
}

// A server in recovery takes the lock and excludes nobody. One that was stopped cleanly and finds
// standby.signal comes up as a standby that waits for its primary.
func TestStandby(t *testing.T) {
	bin, err := server.Programs()
	if err != nil {
		t.Skipf("NOT RUN: standby: %v", err)
	}
	dir, err := os.MkdirTemp("", "pgtest-standby-")
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, script := range map[string]string{
		"initdb":   "#!/bin/sh\n'" + bin + "/initdb' \"$@\" && touch \"$2/standby.signal\"\n",
		"postgres": "#!/bin/sh\nexec '" + bin + "/postgres' \"$@\"\n",
	} {
		kit.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the server runs as another user when we are root
		t.Fatal(err)
	}
	t.Setenv(server.EnvBin, dir)
	t.Setenv(server.EnvSource, "local")
	standby, err := server.Start(t.Context(), server.Options{Run: server.NewRun()})
	kit.Must(t, err)
	t.Cleanup(func() { _ = standby.Close() })

	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			db, err := sql.Open(access.Driver, standby.URL)
			kit.Must(t, err)
			defer db.Close()
			tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true}) // lib/pq asks for READ WRITE else
			kit.Must(t, err)
			defer func() { _ = tx.Rollback() }()
			if err := lock.Acquire(t.Context(), tx, key); !errors.Is(err, lock.ErrStandby) {
				t.Errorf("Acquire = %v, want ErrStandby", err)
			}
			if _, err := lock.TryAcquire(t.Context(), tx, key); !errors.Is(err, lock.ErrStandby) {
				t.Errorf("TryAcquire = %v, want ErrStandby", err)
			}
			if err := lock.AcquireWithin(t.Context(), tx, key, time.Second); !errors.Is(err, lock.ErrStandby) {
				t.Errorf("AcquireWithin = %v, want ErrStandby", err)
			}
			if n := kit.One[int](t, tx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'`); n != 0 {
				t.Errorf("%d locks were taken", n)
			}
		})
	}
}
