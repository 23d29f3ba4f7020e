package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// riverSpeed is what of River decides how fast it is with a job that is alone. Zero values are its defaults.
type riverSpeed struct {
	cooldown, poll time.Duration
	update         bool // the output is written in the midst of the work, not when the job is completed, in a batch, a while later
}

// riverAsks is how often the table is asked for a job's output: there is no other way to await it.
const riverAsks = time.Millisecond

type tellsArgs struct{}

func (tellsArgs) Kind() string { return "tells" }

type tellsWorker[TTx any] struct {
	river.WorkerDefaults[tellsArgs]
	riverSpeed
}

func (w tellsWorker[TTx]) Work(ctx context.Context, job *river.Job[tellsArgs]) error {
	began, err := now(ctx)
	if err != nil || !w.update {
		return river.RecordOutput(ctx, began)
	}
	_, err = river.ClientFromContext[TTx](ctx).JobUpdate(ctx, job.ID, &river.JobUpdateParams{Output: began})
	return err
}

func riverTells[TTx any](speed riverSpeed) *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, tellsWorker[TTx]{riverSpeed: speed})
	return &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: queueSlots}},
		FetchCooldown: speed.cooldown, FetchPollInterval: speed.poll,
		Workers: workers,
	}
}

type riverStarter[TTx any] struct{ riverProducer[TTx] }

func (s riverStarter[TTx]) Once(ctx context.Context) (began time.Time, err error) {
	inserted, err := s.client.Insert(ctx, tellsArgs{}, nil)
	if err != nil {
		return began, err
	}
	for {
		job, err := s.client.JobGet(ctx, inserted.Job.ID)
		if err != nil {
			return began, err
		}
		if output := job.Output(); output != nil {
			var micros int64
			err := json.Unmarshal(output, &micros)
			return time.UnixMicro(micros), err
		}
		if job.State == rivertype.JobStateDiscarded || job.State == rivertype.JobStateCompleted {
			return began, fmt.Errorf("the job is %s and has no output", job.State)
		}
		time.Sleep(riverAsks)
	}
}

func openRiverPGXLatency(speed riverSpeed) func(context.Context, string) (closer, error) {
	return func(ctx context.Context, url string) (closer, error) {
		pool, leave, err := riverPool(ctx, url)
		if err != nil {
			return nil, err
		}
		return startRiver(ctx, riverpgxv5.New(pool), url, riverTells[pgx.Tx](speed), leave)
	}
}

func openRiverPGXStarter(speed riverSpeed) func(context.Context, string) (starter, error) {
	return func(ctx context.Context, url string) (starter, error) {
		pool, leave, err := riverPool(ctx, url)
		if err != nil {
			return nil, err
		}
		r, err := openRiver[pgx.Tx](riverpgxv5.New(pool), url, &river.Config{FetchCooldown: speed.cooldown}, leave)
		return riverStarter[pgx.Tx]{riverProducer[pgx.Tx]{r}}, err
	}
}

func openRiverSQLLatency(speed riverSpeed) func(context.Context, string) (closer, error) {
	return func(ctx context.Context, url string) (closer, error) {
		db, err := openPool("postgres", url)
		if err != nil {
			return nil, err
		}
		return startRiver(ctx, riverdatabasesql.New(db), url, riverTells[*sql.Tx](speed), db.Close)
	}
}

func openRiverSQLStarter(speed riverSpeed) func(context.Context, string) (starter, error) {
	return func(_ context.Context, url string) (starter, error) {
		db, err := openPool("postgres", url)
		if err != nil {
			return nil, err
		}
		r, err := openRiver[*sql.Tx](riverdatabasesql.New(db), url, &river.Config{FetchCooldown: speed.cooldown}, db.Close)
		return riverStarter[*sql.Tx]{riverProducer[*sql.Tx]{r}}, err
	}
}
