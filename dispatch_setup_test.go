package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/dispatchtest"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// channelQueue is a queue of the application's in its memory.
type channelQueue struct{ messages chan string }

func newChannelQueue() *channelQueue { return &channelQueue{make(chan string, 1000)} }

func (q *channelQueue) Dispatch(ctx context.Context, runIDs []string) error {
	for _, id := range runIDs {
		select {
		case q.messages <- id:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// consume is the application's consumer: what execute refuses comes again.
func (q *channelQueue) consume(execute dispatchtest.Execute) (stop func(), err error) {
	return consumer(func(ctx context.Context) (string, bool) {
		select {
		case id := <-q.messages:
			return id, true
		case <-ctx.Done():
			return "", false
		}
	}, execute, func(id string) { q.messages <- id }), nil
}

// tableQueue is a queue of the application's in its database: a message is inserted with what it is about.
type tableQueue struct {
	db     *sql.DB
	report func(format string, args ...any)
}

func newTableQueue(t testing.TB, db *sql.DB) *tableQueue {
	kit.Exec(t, db, "CREATE TABLE messages (id BIGINT GENERATED ALWAYS AS IDENTITY, run_id TEXT)")
	return &tableQueue{db, t.Errorf}
}

func (q *tableQueue) Dispatch(ctx context.Context, runIDs []string) error {
	return q.inTx(ctx, func(tx *sql.Tx) error { return q.DispatchTx(ctx, tx, runIDs) })
}

// inTx does what a queue should, whatever the database's default isolation.
func (q *tableQueue) inTx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := q.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (q *tableQueue) DispatchTx(ctx context.Context, tx *sql.Tx, runIDs []string) error {
	for _, id := range runIDs {
		if _, err := tx.ExecContext(ctx, "INSERT INTO messages (run_id) VALUES ($1)", id); err != nil {
			return err
		}
	}
	return nil
}

func (q *tableQueue) consume(execute dispatchtest.Execute) (stop func(), err error) {
	take := func(ctx context.Context) (id string, found bool) {
		for ctx.Err() == nil {
			err := q.inTx(ctx, func(tx *sql.Tx) error {
				return tx.QueryRowContext(ctx, `
					DELETE FROM messages
					WHERE id = (SELECT id FROM messages ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
					RETURNING run_id`).Scan(&id)
			})
			switch {
			case err == nil:
				return id, true
			case !errors.Is(err, sql.ErrNoRows) && ctx.Err() == nil:
				q.report("take a message: %v", err)
			}
			kit.Pause(ctx, 5*time.Millisecond)
		}
		return "", false
	}
	again := func(id string) {
		if err := q.Dispatch(context.Background(), []string{id}); err != nil {
			q.report("put a message back: %v", err)
		}
	}
	return consumer(take, execute, again), nil
}

// consumer executes what take brings, eight at a time.
func consumer(take func(context.Context) (string, bool), execute dispatchtest.Execute, again func(string)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for {
				id, found := take(ctx)
				if !found {
					return
				}
				if err := execute(ctx, id); err != nil && !errors.Is(err, workflow.ErrRunNotFound) {
					kit.Pause(ctx, 10*time.Millisecond)
					again(id)
				}
			}
		})
	}
	return func() {
		cancel()
		working.Wait()
	}
}
