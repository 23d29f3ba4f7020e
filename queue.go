package workflow

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// NoQueue in Config.Serve stands for the runs that are in no queue.
const NoQueue = ""

// Queue is what a queue allows, over all processes unless a field says otherwise; a limit of 0 is none. Limits count the runs whose
// status is running, as the rows say at that moment, and hold exactly, with any number of workers. When a limit is lowered, what runs
// already goes on to its end, and nothing is added.
//
// The runs of a worker that has died count until it is known to be dead, when its lease ends. A run that is failed by its deadline frees
// its place then, though its code may not have returned yet.
type Queue struct {
	// Name is what [WithQueue] and Config.Serve call it: at most 255 bytes, not empty.
	Name string

	// MaxRunning bounds how many of the queue's runs run at once. 0: no bound.
	MaxRunning int

	// MaxPerWorker bounds how many of them one process runs at once, which never runs more than Config.Concurrency of all its
	// runs. 0: no bound.
	MaxPerWorker int

	// MaxPerPartition bounds how many runs of one partition ([WithPartition]) run at once; those without one are a partition
	// too. 0: no bound.
	MaxPerPartition int

	// Rate bounds how often runs begin. The zero value is no bound.
	Rate Rate
}

// Rate is how often runs of a queue may begin: Count in each Per, evenly spaced, so one each Per/Count. [PerSecond], [PerMinute] and
// [PerHour] make one. Whatever window of time one looks at, no more runs have begun in it than the rate allows in its length, and Burst
// besides. A run that goes on after a wait, a crash or a lost worker begins once more. None is dropped: those above the rate wait.
type Rate struct {
	// Count is how many runs may begin in each Per.
	Count int

	// Per is the time in which Count runs may begin: a whole number of milliseconds, and at most 31 days.
	Per time.Duration

	// Burst is how many may begin at once when none has begun for a while. Defaults to 1; at most 1,000,000.
	Burst int
}

// PerSecond is n runs a second.
func PerSecond(n int) Rate { return Rate{Count: n, Per: time.Second} }

// PerMinute is n runs a minute.
func PerMinute(n int) Rate { return Rate{Count: n, Per: time.Minute} }

// PerHour is n runs an hour.
func PerHour(n int) Rate { return Rate{Count: n, Per: time.Hour} }

// QueueState is a queue as it stands. Times are the database's, to the millisecond.
type QueueState struct {
	Queue
	PausedAt  time.Time // since when it is paused; zero: it is not
	CreatedAt time.Time
	UpdatedAt time.Time     // when its limits were set last, or it was paused or resumed
	Running   int64         // its runs whose status is running: what its limits count
	Waiting   int64         // its runs that would begin now if the queue had room for them
	Lag       time.Duration // for how long the one of these that has waited longest has been due; 0 when there is none
	AtLeast   bool          // Running, Waiting and Lag are that or more: not all runs were looked at ([State.LookAtQueues])
}

// SetQueue makes the queue be as given: it is created if it is not there, and else all its limits are replaced. It does not resume a
// paused queue. Running runs go on; what begins after SetQueue has returned (in a transaction: after that has committed) obeys the new
// limits. A transaction that has set a queue and stays open stops no run: until it commits, the queue works as it was.
//
// Whoever sets a queue waits for another transaction that has set it and is still open: in a transaction of the application for
// Config.LockTimeout, then ErrLockTimeout, and on the service for Config.Timeout, then ErrTimeout.
func (s State) SetQueue(ctx context.Context, queue Queue) error {
	return s.writeQueue(ctx, "set queue", queue, s.store.SetQueue)
}

// EnsureQueue creates the queue if it is not there; else it changes nothing. Call it when a program starts: it does not undo what an
// operator has set meanwhile. One that is there is not waited for.
func (s State) EnsureQueue(ctx context.Context, queue Queue) error {
	return s.writeQueue(ctx, "ensure queue", queue, s.store.EnsureQueue)
}

func (s State) writeQueue(ctx context.Context, op string, queue Queue, write func(context.Context, store.Queue) error) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	if err := queue.validate(); err != nil {
		return fmt.Errorf("workflow: %s: %w", op, err)
	}
	if err := write(ctx, queue.stored()); err != nil {
		return err
	}
	s.then(s.engine.Wake)
	return nil
}

// PauseQueue lets no run of the queue begin until [State.ResumeQueue]. Those that run go on; new ones may be started, and wait.
// A deadline passes in a paused queue as well. Pausing a paused queue is fine. ErrQueueNotFound; it waits as
// [State.SetQueue] does.
func (s State) PauseQueue(ctx context.Context, name string) error {
	return s.turnQueue(ctx, "pause queue", name, s.store.PauseQueue)
}

// ResumeQueue lets the runs of a paused queue begin again. Resuming one that is not paused is fine. ErrQueueNotFound; it waits as
// [State.SetQueue] does.
func (s State) ResumeQueue(ctx context.Context, name string) error {
	return s.turnQueue(ctx, "resume queue", name, s.store.ResumeQueue)
}

func (s State) turnQueue(ctx context.Context, op, name string, turn func(context.Context, string) error) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	if err := checkName("queue name", name, maxName); err != nil {
		return err
	}
	if err := turn(ctx, name); err != nil {
		return err
	}
	s.then(s.engine.Wake)
	return nil
}

// GetQueue returns a queue as it stands, or ErrQueueNotFound. It counts the queue's running and waiting runs, which costs the more the
// more there are.
func (s State) GetQueue(ctx context.Context, name string) (QueueState, error) {
	if err := s.ready(ctx, "get queue"); err != nil {
		return QueueState{}, err
	}
	if err := checkName("queue name", name, maxName); err != nil {
		return QueueState{}, err
	}
	found, err := s.store.GetQueue(ctx, name)
	return queueStateOf(found), err
}

// ListQueues returns all queues as they stand, by name. It counts their running and waiting runs, which costs the more the more there
// are: for a look every minute, not every second.
func (s State) ListQueues(ctx context.Context) ([]QueueState, error) {
	if err := s.ready(ctx, "list queues"); err != nil {
		return nil, err
	}
	found, err := s.store.ListQueues(ctx)
	if err != nil {
		return nil, err
	}
	return queueStatesOf(found), nil
}

// LookAtQueues is ListQueues for a look every few seconds: of each queue it looks at 10,000 running runs and at 10,000 others at most, also of
// those that are not due yet. Where there are more, QueueState.AtLeast is set. It returns 1,000 queues at most.
func (s State) LookAtQueues(ctx context.Context) ([]QueueState, error) {
	if err := s.ready(ctx, "look at queues"); err != nil {
		return nil, err
	}
	found, err := s.store.LookAtQueues(ctx, queueLook)
	if err != nil {
		return nil, err
	}
	return queueStatesOf(found), nil
}

// queueLook is how many runs of each kind are looked at.
const queueLook = 10_000

func queueStatesOf(found []store.QueueState) []QueueState {
	queues := make([]QueueState, len(found))
	for i := range found {
		queues[i] = queueStateOf(found[i])
	}
	return queues
}

// mustHaveQueue is ErrQueueNotFound unless there is a queue of this name. A process asks once for those that are committed. In a
// transaction of the application one may be found that never will be, so that is asked for each time.
func (s State) mustHaveQueue(ctx context.Context, name string) error {
	has := s.engine.HasQueue
	if s.store.Tx() != nil && !s.engine.KnowsQueue(name) {
		has = s.store.HasQueue
	}
	there, err := has(ctx, name)
	if err == nil && !there {
		err = fmt.Errorf("workflow: queue %q: %w", name, ErrQueueNotFound)
	}
	return err
}

// Bounds of a Queue's numbers: what its columns can hold, and such that no time that is computed from a rate is out of range.
const (
	maxLimit = math.MaxInt32
	maxPer   = 31 * 24 * time.Hour
	maxBurst = 1_000_000
)

func (q Queue) validate() error {
	if err := nameProblem("Queue.Name", q.Name, maxName); err != nil {
		return err
	}
	for _, limit := range []struct {
		field string
		value int
	}{
		{"MaxRunning", q.MaxRunning}, {"MaxPerWorker", q.MaxPerWorker}, {"MaxPerPartition", q.MaxPerPartition}, {"Rate.Count", q.Rate.Count},
	} {
		switch {
		case limit.value < 0:
			return fmt.Errorf("%w: Queue.%s is %d: use 0 for no limit", ErrInvalidArgument, limit.field, limit.value)
		case limit.value > maxLimit:
			return fmt.Errorf("%w: Queue.%s is %d: use at most %d, or 0 for no limit", ErrInvalidArgument, limit.field, limit.value, maxLimit)
		}
	}
	return q.Rate.validate()
}

func (r Rate) validate() error {
	switch {
	case r == Rate{}:
		return nil
	case r.Count == 0:
		return fmt.Errorf("%w: Queue.Rate has no Count: say how many runs may begin in each Per, or leave the Rate out; "+
			"to stop a queue, use PauseQueue", ErrInvalidArgument)
	case r.Per == 0:
		return fmt.Errorf("%w: Queue.Rate has a Count and no Per: use PerSecond(%d) or the like", ErrInvalidArgument, r.Count)
	case r.Per < 0 || r.Per > maxPer || r.Per%time.Millisecond != 0:
		return fmt.Errorf("%w: Queue.Rate.Per is %s: use whole milliseconds, at most %s", ErrInvalidArgument, r.Per, maxPer)
	case int64(r.Count) > r.Per.Microseconds():
		return fmt.Errorf("%w: Queue.Rate is %d in %s: use at most one a microsecond, or leave the Rate out", ErrInvalidArgument, r.Count, r.Per)
	case r.Burst < 0 || r.Burst > maxBurst:
		return fmt.Errorf("%w: Queue.Rate.Burst is %d: use at most %d, or 0 for 1", ErrInvalidArgument, r.Burst, maxBurst)
	}
	return nil
}

// stored expects a queue that is valid.
func (q Queue) stored() store.Queue {
	stored := store.Queue{
		Name: q.Name, MaxRunning: q.MaxRunning, MaxPerWorker: q.MaxPerWorker, MaxPerPartition: q.MaxPerPartition,
		RateCount: q.Rate.Count, RateWindow: q.Rate.Per, RateBurst: q.Rate.Burst,
	}
	if stored.RateCount > 0 {
		setDefault(&stored.RateBurst, 1)
	}
	return stored
}

func queueStateOf(s store.QueueState) QueueState {
	return QueueState{
		Queue: Queue{
			Name: s.Name, MaxRunning: s.MaxRunning, MaxPerWorker: s.MaxPerWorker, MaxPerPartition: s.MaxPerPartition,
			Rate: Rate{Count: s.RateCount, Per: s.RateWindow, Burst: s.RateBurst},
		},
		PausedAt: s.PausedAt, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
		Running: s.Running, Waiting: s.Waiting, Lag: s.Lag, AtLeast: s.AtLeast,
	}
}
