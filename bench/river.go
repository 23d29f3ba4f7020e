package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// As in its own benchmark.
const (
	riverCooldown = 2 * time.Millisecond
	riverPoll     = 20 * time.Millisecond
)

type oneStepArgs struct{}

func (oneStepArgs) Kind() string { return "one_step" }

type oneStepWorker struct {
	river.WorkerDefaults[oneStepArgs]
}

func (oneStepWorker) Work(ctx context.Context, _ *river.Job[oneStepArgs]) error {
	result, err := step(ctx)
	return errors.Join(err, river.RecordOutput(ctx, result))
}

// riverClient is a client on one of River's drivers.
type riverClient[TTx any] struct {
	client *river.Client[TTx]
	db     *sql.DB // to see what is finished
	leave  func() error
}

func openRiver[TTx any](driver riverdriver.Driver[TTx], url string, config *river.Config, leave func() error) (*riverClient[TTx], error) {
	config.Logger = slog.New(slog.DiscardHandler)
	client, err := river.NewClient(driver, config)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("pgx", withParameters(url, "enable_seqscan=off")) // by its index on states: not at the cost of the work
	return &riverClient[TTx]{client: client, db: db, leave: leave}, err
}

// riverQueue is the configuration of a worker. It has no limit over all of them and no partitions in its open edition: where one
// process works, its own limit is one over all.
func riverQueue(q queueing) *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, oneStepWorker{})
	return &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: q.here()}},
		FetchCooldown: riverCooldown, FetchPollInterval: riverPoll,
		Workers: workers,
	}
}

// riverInserts is that of a client that inserts only, which notifies the others once in a FetchCooldown at most.
func riverInserts() *river.Config { return &river.Config{FetchCooldown: riverCooldown} }

func startRiver[TTx any](
	ctx context.Context, driver riverdriver.Driver[TTx], url string, config *river.Config, leave func() error,
) (closer, error) {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	r, err := openRiver(driver, url, config, leave)
	if err != nil {
		return nil, err
	}
	return r, r.client.Start(context.Background())
}

// Close ends a client that works; one that only inserts has nothing to stop.
func (r *riverClient[TTx]) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(r.client.Stop(ctx), r.db.Close(), r.leave())
}

type riverProducer[TTx any] struct{ *riverClient[TTx] }

func (r riverProducer[TTx]) Close() error { return errors.Join(r.db.Close(), r.leave()) }

func (r *riverClient[TTx]) Enqueue(ctx context.Context, _ int) error {
	_, err := r.client.Insert(ctx, oneStepArgs{}, nil)
	return err
}

func (r *riverClient[TTx]) AwaitAll(ctx context.Context) error {
	for {
		var left bool
		const asks = "SELECT EXISTS (SELECT FROM river_job WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled'))"
		err := r.db.QueryRowContext(ctx, asks).Scan(&left)
		if err != nil || !left {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func riverPool(ctx context.Context, url string) (*pgxpool.Pool, func() error, error) {
	pool, err := pgxpool.New(ctx, withParameters(url, "pool_max_conns=32"))
	if err != nil {
		return nil, nil, err
	}
	return pool, func() error { pool.Close(); return nil }, nil
}

func openRiverPGXWorker(ctx context.Context, url string, q queueing) (closer, error) {
	pool, leave, err := riverPool(ctx, url)
	if err != nil {
		return nil, err
	}
	return startRiver(ctx, riverpgxv5.New(pool), url, riverQueue(q), leave)
}

func openRiverPGXProducer(ctx context.Context, url string, _ queueing) (producer, error) {
	pool, leave, err := riverPool(ctx, url)
	if err != nil {
		return nil, err
	}
	r, err := openRiver[pgx.Tx](riverpgxv5.New(pool), url, riverInserts(), leave)
	return riverProducer[pgx.Tx]{r}, err
}

func openRiverSQLWorker(ctx context.Context, url string, q queueing) (closer, error) {
	db, err := openPool("postgres", url)
	if err != nil {
		return nil, err
	}
	return startRiver(ctx, riverdatabasesql.New(db), url, riverQueue(q), db.Close)
}

func openRiverSQLProducer(_ context.Context, url string, _ queueing) (producer, error) {
	db, err := openPool("postgres", url)
	if err != nil {
		return nil, err
	}
	r, err := openRiver[*sql.Tx](riverdatabasesql.New(db), url, riverInserts(), db.Close)
	return riverProducer[*sql.Tx]{r}, err
}
