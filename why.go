package workflow

import (
	"context"
	"time"
)

// WhyCode tells programs why a run does not move; the facts of a [Why] depend on it.
type WhyCode string

// The answers of [Service.Why]. Later releases may add to them.
const (
	WhyFinished WhyCode = "finished" // it is over: Why.Status, and Err if it failed

	// It is executed.
	WhyExecuted     WhyCode = "executed"       // by Worker; nothing has been in flight there for long
	WhyStepInFlight WhyCode = "step_in_flight" // by Worker, and Step has been in flight since Since; Count such steps in all
	WhyLeaseEnded   WhyCode = "lease_ended"    // the lease of Worker has ended, and another one takes the run over

	// It waits, and takes no slot of a worker unless Worker is set.
	WhyAsleep   WhyCode = "asleep"   // Step sleeps until Until
	WhyRetry    WhyCode = "retry"    // attempt Attempt of MaxAttempts of Step begins at Until; the one before failed with Err
	WhySignal   WhyCode = "signal"   // what WaitsFor names has to come, or Until
	WhyChildren WhyCode = "children" // Count runs have to end, of which Runs are the first
	WhyDelayed  WhyCode = "delayed"  // it was started with a delay, or handed back for a while: until Until
	WhyBlocked  WhyCode = "blocked"  // it does not match its record: Err says what was recorded and asked; tried again at Until
	WhyByHand   WhyCode = "by_hand"  // somebody moved it by the state API and has to move it on: no worker claims it

	// It may be claimed since Since, and is not, because of who should claim it.
	WhyNoWorker  WhyCode = "no_worker" // no worker is alive
	WhyUnserved  WhyCode = "unserved"  // of Workers none has registered its workflow and serves its queue
	WhyAnnounced WhyCode = "announced" // it is left to the consumer of the application's own queue (Config.Dispatcher)
	WhyBehind    WhyCode = "behind"    // Serving workers execute other runs, of which Count are due before this one

	// It may be claimed since Since, and is not, because of Queue.
	WhyNoQueue       WhyCode = "no_queue"       // there is no such queue any more
	WhyQueuePaused   WhyCode = "queue_paused"   // since PausedAt
	WhyQueueFull     WhyCode = "queue_full"     // Runs and others execute, Count of at most Limit (Queue.MaxRunning)
	WhyPartitionFull WhyCode = "partition_full" // the same of its partition (Queue.MaxPerPartition)
	WhyWorkersFull   WhyCode = "workers_full"   // the same on each worker that could claim it (Queue.MaxPerWorker)
	WhyRate          WhyCode = "rate"           // the next run begins at Until
)

// Why is why a run does not move, as [Service.Why] found it in one look. Which fields are set depends on Code; the others are zero.
// Times are the database's, to the millisecond. String says all of it in a sentence.
type Why struct {
	RunID    string
	Workflow string // name that the workflow was defined with
	Status   RunStatus
	Code     WhyCode
	Now      time.Time // when it was so

	Since    time.Time // since when it is so: it may be claimed, a step is in flight, it is blocked; zero where that is not known
	Until    time.Time // when it goes on by itself, as far as it depends on Code; zero: it does not
	WaitsFor []string  // what makes a suspended run go on besides Until, as Run.WaitsFor
	Err      error     // an *Error: why it has failed, is blocked, or its last attempt failed

	Step        string // its key, as Step.Name
	Attempt     int    // the next one of Step, from 2 on
	MaxAttempts int    // of Step; negative: any number

	Worker WhyWorker // who executes it; zero: nobody does

	Queue       string    // that it is in; "" for none
	Partition   string    // of that queue; "" for none
	PausedAt    time.Time // since when Queue is paused
	AnnouncedAt time.Time // when the application's own queue was last told; zero: not since it was last executed
	Limit       int       // of Queue that is reached

	Runs  []WhyRun // that it waits for, or that fill Queue: at most 10, those first that have stood so for longest
	Count int      // of all of these; of what is due before it, at most 1,000; of steps in flight

	Workers   int // that are alive
	Serving   int // of these: those that have registered its workflow and serve its queue
	Executing int // runs that those execute, while this one may be claimed; at most 1,000 each are counted
}

// WhyWorker is the worker that executes a run.
type WhyWorker struct {
	ID         string    // as Run.Owner
	Host       string    // of its process; "" when that is not known any more
	PID        int       // process id on that host
	Version    string    // Config.Version of the process; "" for none
	LeaseUntil time.Time // when others take its runs over unless a heartbeat comes before; zero: it is long gone
}

// WhyRun is another run that this one waits for.
type WhyRun struct {
	RunID    string
	Workflow string
	Status   RunStatus
	Since    time.Time // last change of its row: a run that is executed was claimed then
}

// Why tells why a run does not move, or that it does: who executes it and what hangs there, what it waits for and until when, why
// nobody claims it. It is one statement, which reads a bounded number of rows by indexes; it changes nothing. The answer is as of that
// moment, and what only the process of a worker knows is in it as that has published it: a step in flight from the second heartbeat
// on (see [Service.StepsInFlight]). Where several reasons hold, the one that has to go first is told.
//
// Errors are ErrRunNotFound, ErrInvalidArgument for a bad id, ErrClosed, ctx's, and those of the database.
func (s *Service) Why(ctx context.Context, runID string) (Why, error) {
	if err := s.readyRun(ctx, "why", runID); err != nil {
		return Why{}, err
	}
	where, err := s.store.Whereabouts(ctx, runID)
	if err != nil {
		return Why{}, err
	}
	return whyOf(where), nil
}
