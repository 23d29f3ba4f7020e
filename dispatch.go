package workflow

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sqlworkflow/workflow/internal/engine"
	"github.com/sqlworkflow/workflow/store"
)

// A Dispatcher tells a queue of the application's own which runs there is something to do for; see [Config.Dispatcher].
//
// Dispatch puts a message for each run on the queue: the run's id, and nothing else. A message names what to look at and never what to do,
// so it does no harm if it comes twice, late, or for a run that is finished. It is called by several goroutines at once, with a context
// that ends after Config.Timeout, and holds nothing of ours meanwhile. Its error is no failure of any run: they are announced again.
type Dispatcher interface {
	Dispatch(ctx context.Context, runIDs []string) error
}

// A TxDispatcher is a [Dispatcher] for a queue in the same database, which takes messages in a transaction: then a run and its message
// commit together, and no message is lost or sent for nothing. If DispatchTx returns an error nothing of that transaction is to be kept:
// in one of the application the call that was to start a run returns the error.
type TxDispatcher interface {
	Dispatcher
	DispatchTx(ctx context.Context, tx *sql.Tx, runIDs []string) error
}

// Why [Service.Execute] has not executed a run: the message that named it has to come again, here or elsewhere.
var (
	// ErrQueueFull is returned by [Service.Execute] while a limit or a pause of the run's queue holds it back.
	ErrQueueFull = store.ErrQueueFull

	// ErrNotWorking is returned by [Service.Execute] while [Service.Work] does not run on the service, or has just lost its lease.
	ErrNotWorking = engine.ErrNotWorking

	// ErrUnknownWorkflow is returned by [Service.Execute] for a run of a workflow that the service has not registered.
	ErrUnknownWorkflow = engine.ErrUnknownWorkflow

	// ErrSuspect is returned by [Service.Execute] for a run that may be the reason why workers died, while the service executes another
	// such run: it takes one at a time.
	ErrSuspect = engine.ErrSuspect
)

// Execute is for the consumer of the application's own queue: it claims the run that a message names, executes it in this process, and
// returns when there is nothing more to do for it here: it has ended, waits, was handed back or lost. How the run went is no error of
// Execute.
//
// It returns nil at once when there is nothing to do: the run is finished, is not due, or is executed by a worker that lives. So a message
// that is done may be forgotten, whatever became of its run: whatever makes the run go on later has a message of its own. An error says
// that the message has to come again: [ErrQueueFull] while a limit or a pause of the run's queue holds it back, [ErrNotWorking],
// [ErrUnknownWorkflow], [ErrSuspect], [ErrLockTimeout], and those of the database. [ErrRunNotFound] alone will stay as it is.
//
// [Service.Work] has to run on the service, as it keeps the lease under which runs are executed. A run that is executed so takes no slot of
// Config.Concurrency: the consumer bounds how many there are. When ctx ends the run is handed back as at the end of Work: steps in flight
// have Config.Drain to finish.
func (s *Service) Execute(ctx context.Context, runID string) error {
	if err := s.readyRun(ctx, "execute run", runID); err != nil {
		return err
	}
	if err := s.engine.Execute(ctx, runID); err != nil {
		return fmt.Errorf("workflow: execute run %q: %w", runID, err)
	}
	return nil
}
