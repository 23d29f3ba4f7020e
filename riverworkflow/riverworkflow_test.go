package riverworkflow_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/dispatchtest"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
	"github.com/sqlworkflow/workflow/riverworkflow"
)

var silent = slog.New(slog.DiscardHandler)

// A rig is River on a database, with an adapter.
type rig struct {
	t          testing.TB
	db         *sql.DB
	dispatcher *riverworkflow.Dispatcher
}

func newRig(t testing.TB, db *sql.DB) *rig {
	t.Helper()
	driver := riverdatabasesql.New(db)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: silent})
	kit.Must(t, err)
	_, err = migrator.Migrate(kit.Context(t), rivermigrate.DirectionUp, nil)
	kit.Must(t, err)
	insertOnly, err := river.NewClient(driver, &river.Config{Logger: silent})
	kit.Must(t, err)
	return &rig{t: t, db: db, dispatcher: riverworkflow.NewDispatcher(insertOnly, nil)}
}

type executor func(ctx context.Context, runID string) error

func (e executor) Execute(ctx context.Context, runID string) error { return e(ctx, runID) }

// consume works the jobs.
func (r *rig) consume(execute dispatchtest.Execute) (stop func(), err error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, riverworkflow.NewWorker(executor(execute)))
	client, err := river.NewClient(riverdatabasesql.New(r.db), &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 8}},
		FetchCooldown: 5 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Workers: workers, Logger: silent,
	})
	if err != nil {
		return nil, err
	}
	if err := client.Start(context.Background()); err != nil {
		return nil, err
	}
	return func() { kit.Must(r.t, client.StopAndCancel(kit.Context(r.t))) }, nil
}

func TestDispatcher(t *testing.T) {
	for _, access := range []pgtest.Access{pgtest.PQ, pgtest.PGX} {
		t.Run(access.Name, func(t *testing.T) {
			t.Parallel()
			open := func(t *testing.T) *sql.DB { return pgtest.New(t).Open(t, access) }
			dispatchtest.Run(t, open, func(t *testing.T, db *sql.DB) dispatchtest.Queue {
				r := newRig(t, db)
				return dispatchtest.Queue{Dispatcher: r.dispatcher, Consume: r.consume}
			})
		})
	}
}

// What cannot be done now is put off, without an attempt being counted; what never can be is not tried again.
func TestWorker(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want any // nil: none; else a pointer to the type of the error
	}{
		{nil, nil},
		{workflow.ErrQueueFull, new(*rivertype.JobSnoozeError)},
		{workflow.ErrNotWorking, new(*rivertype.JobSnoozeError)},
		{workflow.ErrUnknownWorkflow, new(*rivertype.JobSnoozeError)},
		{workflow.ErrSuspect, new(*rivertype.JobSnoozeError)},
		{workflow.ErrLockTimeout, new(*rivertype.JobSnoozeError)},
		{workflow.ErrRunNotFound, new(*rivertype.JobCancelError)},
	} {
		w := riverworkflow.NewWorker(executor(func(context.Context, string) error { return test.err }))
		err := w.Work(t.Context(), &river.Job[riverworkflow.Args]{JobRow: &rivertype.JobRow{Metadata: []byte(`{"snoozes": 3}`)}})
		switch {
		case test.want == nil && err != nil, test.want != nil && !errors.As(err, test.want):
			t.Errorf("%v: the job's error is %v (%T)", test.err, err, err)
		}
	}
	broken := errors.New("the database is away")
	w := riverworkflow.NewWorker(executor(func(context.Context, string) error { return broken }))
	kit.WantIs(t, w.Work(t.Context(), &river.Job[riverworkflow.Args]{JobRow: new(rivertype.JobRow)}), broken)
}
