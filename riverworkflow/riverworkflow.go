// Package riverworkflow has runs brought to their workers by River, a queue of jobs in PostgreSQL: a job names a run, and whoever works the
// job executes that run. A run and its job commit together, also in a transaction of the application.
//
//	insertOnly, err := river.NewClient(riverdatabasesql.New(db), &river.Config{})
//	svc, err := workflow.New(workflow.Config{DB: db, Dispatcher: riverworkflow.NewDispatcher(insertOnly, nil)})
//	…
//	workers := river.NewWorkers()
//	river.AddWorker(workers, riverworkflow.NewWorker(svc))
//	client, err := river.NewClient(riverdatabasesql.New(db), &river.Config{
//		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}},
//		Workers: workers,
//	})
//
// [workflow.Service.Work] has to run as well: it keeps the lease under which runs are executed, and makes jobs of what wakes by SQL.
// MaxWorkers bounds how many runs a process executes at once, and not Config.Concurrency.
package riverworkflow

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"

	"github.com/sqlworkflow/workflow"
)

// Args are those of a job that names a run.
type Args struct {
	RunID string `json:"run_id"`
}

// Kind is the kind of the jobs that name runs.
func (Args) Kind() string { return "workflow_run" }

// A Dispatcher makes a job of each run that it is told of; it is a [workflow.TxDispatcher].
type Dispatcher struct {
	client *river.Client[*sql.Tx]
	opts   *river.InsertOpts
}

// NewDispatcher returns one that inserts jobs by a client, on the database of the service; the client need not work any. The options are
// those of all jobs, such as their queue, and may be nil. Jobs must not be unique: one that is being worked would keep out the next.
func NewDispatcher(client *river.Client[*sql.Tx], opts *river.InsertOpts) *Dispatcher {
	return &Dispatcher{client: client, opts: opts}
}

// Dispatch inserts a job for each run.
func (d *Dispatcher) Dispatch(ctx context.Context, runIDs []string) error {
	_, err := d.client.InsertManyFast(ctx, d.jobs(runIDs))
	return err
}

// DispatchTx inserts a job for each run in a transaction.
func (d *Dispatcher) DispatchTx(ctx context.Context, tx *sql.Tx, runIDs []string) error {
	_, err := d.client.InsertManyFastTx(ctx, tx, d.jobs(runIDs))
	return err
}

func (d *Dispatcher) jobs(runIDs []string) []river.InsertManyParams {
	jobs := make([]river.InsertManyParams, len(runIDs))
	for i, id := range runIDs {
		jobs[i] = river.InsertManyParams{Args: Args{RunID: id}, InsertOpts: d.opts}
	}
	return jobs
}

// An Executor executes a run: a [*workflow.Service].
type Executor interface {
	Execute(ctx context.Context, runID string) error
}

// A Worker works jobs by executing the runs that they name. A job is completed whatever became of its run, which has its own record.
type Worker struct {
	river.WorkerDefaults[Args]
	executor Executor
}

// NewWorker returns a worker to be added to those of a client.
func NewWorker(executor Executor) *Worker { return &Worker{executor: executor} }

// Work executes the run. What cannot be done now comes again without an attempt being counted: a queue's limit holds the run back, or
// this process does not know its workflow. A job of a run that is not there is cancelled.
func (w *Worker) Work(ctx context.Context, job *river.Job[Args]) error {
	err := w.executor.Execute(ctx, job.Args.RunID)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, workflow.ErrRunNotFound), errors.Is(err, workflow.ErrInvalidArgument):
		return river.JobCancel(err)
	case ctx.Err() != nil:
		return river.JobSnooze(0) // as soon as somebody works again
	case comesAgain(err):
		return river.JobSnooze(pause(job.Metadata))
	default:
		return err
	}
}

func comesAgain(err error) bool {
	for _, why := range []error{
		workflow.ErrQueueFull, workflow.ErrNotWorking, workflow.ErrUnknownWorkflow, workflow.ErrSuspect, workflow.ErrLockTimeout,
	} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

const (
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
)

// pause doubles with each time that the job was put off.
func pause(metadata []byte) time.Duration {
	var put struct {
		Off int `json:"snoozes"`
	}
	if json.Unmarshal(metadata, &put) != nil || put.Off < 0 {
		put.Off = 0
	}
	d := min(firstPause<<min(put.Off, 10), maxPause)
	return d/2 + rand.N(d)
}

// maxWork is how long a job may take. Its run is handed back then, and has another job.
const maxWork = 24 * time.Hour

// Timeout is a day, unless the run waits, which ends the job: what River allows otherwise is short for a run. Jobs of processes that died
// are rescued after that; their runs are not as patient, and have other jobs by then.
func (w *Worker) Timeout(*river.Job[Args]) time.Duration { return maxWork }
