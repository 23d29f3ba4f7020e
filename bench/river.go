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
	db, err := sql.Open("pgx", url)
	return &riverClient[TTx]{client: client, db: db, leave: leave}, err
}

func startRiver[TTx any](ctx context.Context, driver riverdriver.Driver[TTx], url string, slots int, leave func() error) (closer, error) {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, oneStepWorker{})
	r, err := openRiver(driver, url, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}},
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Workers: workers,
	}, leave)
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

func (r *riverClient[TTx]) Enqueue(ctx context.Context) error {
	_, err := r.client.Insert(ctx, oneStepArgs{}, nil)
	return err
}

func (r *riverClient[TTx]) AwaitAll(ctx context.Context) error {
	for {
		var left bool
		err := r.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM river_job WHERE state <> 'completed')").Scan(&left)
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

func openRiverPGXWorker(ctx context.Context, url string, slots int) (closer, error) {
	pool, leave, err := riverPool(ctx, url)
	if err != nil {
		return nil, err
	}
	return startRiver(ctx, riverpgxv5.New(pool), url, slots, leave)
}

func openRiverPGXProducer(ctx context.Context, url string) (producer, error) {
	pool, leave, err := riverPool(ctx, url)
	if err != nil {
		return nil, err
	}
	r, err := openRiver[pgx.Tx](riverpgxv5.New(pool), url, &river.Config{}, leave)
	return riverProducer[pgx.Tx]{r}, err
}

func openRiverSQLWorker(ctx context.Context, url string, slots int) (closer, error) {
	db, err := openPool("postgres", url)
	if err != nil {
		return nil, err
	}
	return startRiver(ctx, riverdatabasesql.New(db), url, slots, db.Close)
}

func openRiverSQLProducer(_ context.Context, url string) (producer, error) {
	db, err := openPool("postgres", url)
	if err != nil {
		return nil, err
	}
	r, err := openRiver[*sql.Tx](riverdatabasesql.New(db), url, &river.Config{}, db.Close)
	return riverProducer[*sql.Tx]{r}, err
}
