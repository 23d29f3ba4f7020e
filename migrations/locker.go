package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/lock"
)

// lockPoll is the time between two tries to get the lock.
const lockPoll = 100 * time.Millisecond

// lockKey is the same for all schemas of a database: whoever migrates holds one connection and needs a
// second one, so that many at a time would starve each other behind a pooler with few servers.
var lockKey = lock.NewKey("sqlworkflow", "", "migrations", "")

// locked runs f while this process holds the migration lock.
//
// The lock is a transaction of its own, kept open on one connection while goose works on another:
// goose's own session lock breaks behind a pooler, where a session is not ours to keep.
func (m *migrator) locked(ctx context.Context, f func() error) error {
	if m.db.Stats().MaxOpenConnections == 1 {
		return fmt.Errorf("migrations: migrate schema %s: the pool is limited to one connection and two are needed: SetMaxOpenConns(2) or more", m.schema)
	}
	release, err := m.acquire(ctx)
	if err != nil {
		return fmt.Errorf("migrations: migrate schema %s: wait for the migration lock: %w", m.schema, explain(err, ""))
	}
	defer release()
	if err := m.secondConnection(ctx); err != nil {
		return err
	}
	return f()
}

// acquire polls: to wait inside the database would occupy a connection, and through a small pooler
// the waiting would take all of them, with none left for the one who holds the lock.
func (m *migrator) acquire(ctx context.Context) (release func(), err error) {
	bounded, cancel := context.WithTimeoutCause(ctx, m.lockWait,
		fmt.Errorf("%w: another process has been migrating for %s", lock.ErrTimeout, m.lockWait))
	defer cancel()
	for {
		release, err := m.tryAcquire(bounded)
		if release != nil || err != nil {
			return release, err
		}
		select {
		case <-bounded.Done():
			return nil, context.Cause(bounded)
		case <-time.After(lockPoll):
		}
	}
}

// The holder sits idle while goose works; no timeout of the server may end that. A statement without
// arguments also drops the snapshot of the one before, for which CREATE INDEX CONCURRENTLY would wait.
const keepOpen = `
SELECT set_config(name, '0', true)
FROM pg_catalog.pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')`

// tryAcquire returns a nil release when another process has the lock.
func (m *migrator) tryAcquire(ctx context.Context) (release func(), err error) {
	// Until the lock is ours ctx can end the transaction; then only release can: else the lock would be
	// free while a cancelled migration is still on its way back.
	txCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, cancel)
	tx, err := m.db.BeginTx(txCtx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		cancel()
		return nil, causeOf(ctx, err)
	}
	release = func() {
		_ = tx.Rollback() // it wrote nothing; when the connection is gone so is the lock
		cancel()
	}
	ok, err := lock.TryAcquire(txCtx, tx, lockKey)
	if err == nil && ok {
		_, err = tx.ExecContext(txCtx, keepOpen)
	}
	if err == nil && ok && unhook() {
		return release, nil
	}
	release()
	return nil, causeOf(ctx, err)
}

// secondConnection finds out, in bounded time, whether goose will get a connection beside the lock's:
// the pool may be used up, or a pooler may have one server for all. There lib/pq does not return when ctx
// ends, so the call is left behind; it ends when the lock's connection is given back.
func (m *migrator) secondConnection(ctx context.Context) error {
	bounded, cancel := context.WithTimeoutCause(ctx, m.poolWait, fmt.Errorf("none was free within %s", m.poolWait))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := m.db.ExecContext(bounded, `SELECT 1`)
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-bounded.Done():
		err = context.Cause(bounded)
	}
	if err != nil {
		return fmt.Errorf("migrations: migrate schema %s: use a second connection beside the lock's: %w", m.schema, causeOf(bounded, err))
	}
	return nil
}

// causeOf prefers why ctx ended to how the driver noticed.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
