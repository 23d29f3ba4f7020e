package workflow

import (
	"fmt"

	"github.com/sqlworkflow/workflow/store"
)

// Priority says which of the runs that wait in one partition of a queue begin first.
type Priority int

// The priorities. Among runs of the same one, that begins first which has been due for longest.
const (
	PriorityHighest Priority = iota - 2
	PriorityHigh
	PriorityNormal // the default
	PriorityLow
	PriorityLowest
)

// normal is PriorityNormal as it is stored, where 0 begins first.
const normal = int(PriorityNormal - PriorityHighest)

// String returns highest, high, normal, low or lowest.
func (p Priority) String() string {
	switch p {
	case PriorityHighest:
		return "highest"
	case PriorityHigh:
		return "high"
	case PriorityNormal:
		return "normal"
	case PriorityLow:
		return "low"
	case PriorityLowest:
		return "lowest"
	default:
		return fmt.Sprintf("Priority(%d)", int(p))
	}
}

// Longest keys, in bytes: they stand in indexes.
const (
	maxPartition = 255
	maxUniqueKey = 1024
)

// WithQueue puts the run into a queue: it begins when that has room for it, at a worker that serves the queue (Config.Serve) and knows
// the workflow; never at once in the process that starts it. The queue must be there ([State.EnsureQueue]), else the error is
// ErrQueueNotFound and nothing is started. A run stays in its queue: after a crash, a wait or [State.Resume] it goes on through that. The
// runs that it calls or spawns do not inherit it.
//
// A run counts for the limits of its queue while its status is running, wherever that is, and for nothing while it waits for a time, a
// signal or other runs. So runs that call each other may share a queue with a limit of 1.
func WithQueue(name string) RunOption {
	return runOption(func(o *runOptions) { o.queue = given{true, name} })
}

// WithPriority lets the run begin before those of a lower priority in the same partition of its queue, whichever came first; partitions
// still take turns. It needs [WithQueue]. Defaults to PriorityNormal.
func WithPriority(p Priority) RunOption {
	return runOption(func(o *runOptions) { o.priority, o.ranked = p, true })
}

// WithPartition puts the run into a partition of its queue, such as one for each tenant: the partitions that have runs waiting take turns,
// however many runs each has, and Queue.MaxPerPartition bounds each. The key has at most 255 bytes; a partition needs no setting up, and
// there may be any number of them. It needs [WithQueue]; runs without a partition take their turn together, as if they had one of
// their own.
func WithPartition(key string) RunOption {
	return runOption(func(o *runOptions) { o.partition = given{true, key} })
}

// WithUnique starts no second run while there is an unfinished one of the same workflow and key: then Start gives a handle to that if its
// input is the same, compared as JSON, and else ErrRunConflict, as it does for another id by [WithRunID]. Callers that race get the same
// run. Once the run is completed, failed or cancelled the key is free again; [State.Resume] of a run whose key another one has taken
// meanwhile is ErrUniqueTaken. The key has at most 1,024 bytes, and needs no queue.
//
// A transaction that has started such a run ([Service.In]) holds the key until it ends. Whoever starts one of the same key meanwhile waits
// for that: in a transaction for Config.LockTimeout, then ErrLockTimeout, and on the service for Config.Timeout, then ErrTimeout.
func WithUnique(key string) StartOption {
	return startOption(func(o *startOptions) { o.unique = given{true, key} })
}

// given is a text that an option was given, perhaps an empty one.
type given struct {
	is   bool
	text string
}

func (g given) check(what string, limit int) error {
	if !g.is {
		return nil
	}
	return nameProblem(what, g.text, limit)
}

// checkPlace checks the options that are about queues.
func (o runOptions) checkPlace() error {
	if err := o.queue.check("queue name", maxName); err != nil {
		return err
	}
	if err := o.partition.check("partition", maxPartition); err != nil {
		return err
	}
	switch {
	case o.ranked && (o.priority < PriorityHighest || o.priority > PriorityLowest):
		return fmt.Errorf("%w: priority %d: use one from PriorityHighest to PriorityLowest", ErrInvalidArgument, int(o.priority))
	case o.ranked && !o.queue.is:
		return fmt.Errorf("%w: a priority is among the runs of a queue: add WithQueue", ErrInvalidArgument)
	case o.partition.is && !o.queue.is:
		return fmt.Errorf("%w: a partition is one of a queue: add WithQueue", ErrInvalidArgument)
	}
	return nil
}

func (o startOptions) check() error {
	if err := o.runOptions.check(); err != nil {
		return err
	}
	if err := checkAttributes("attributes", o.attributes, 1); err != nil {
		return err
	}
	return o.unique.check("unique key", maxUniqueKey)
}

// place is where the run waits.
func (o runOptions) place() store.Place {
	if !o.queue.is {
		return store.Place{}
	}
	return store.Place{Queue: o.queue.text, Priority: int(o.priority) + normal, Partition: o.partition.text}
}

// priorityOf is what a run was started with.
func priorityOf(place store.Place) Priority {
	if place.Queue == "" {
		return PriorityNormal
	}
	return Priority(place.Priority - normal)
}
