package workflow

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/sqlworkflow/workflow/internal/engine"
	"github.com/sqlworkflow/workflow/internal/engine/run"
	"github.com/sqlworkflow/workflow/store"
)

// State is the state API: it creates, reads and moves runs and their steps by hand, which is how an application drives
// runs that it executes itself. A [Service] has it on its pool; [Service.In] returns one that writes in a transaction of
// the application, so that its rows and ours commit together.
//
// In such a transaction the outcomes in this package's errors never abort it. Under REPEATABLE READ and SERIALIZABLE a
// run that changed after the transaction's snapshot is a serialization failure (SQLSTATE 40001), which is passed through.
type State struct {
	store *store.Store
	*shared
	after *after // commit; nil on a pool, where a write is committed when it returns
}

// A Session is where state is written: a [Service], on its pool, or a [State], which [Service.In] binds to a transaction of the
// application. What starts a run or sends to one takes one, and what it writes exists if and only if that commits.
type Session interface {
	state() State
}

func (s State) state() State { return s }

// shared is what a service has in common with the states bound to its transactions.
type shared struct {
	config Config
	pool   *store.Store
	engine *engine.Engine
	closed atomic.Bool
}

// after is what the process is to do once the transaction that a state is bound to has committed.
type after struct{ do []func() }

// then tells this process's worker what was written: at once on a pool, and in a transaction not before the commit.
func (s State) then(tell func()) {
	switch {
	case s.store.Tx() == nil:
		tell()
	case s.after != nil:
		s.after.do = append(s.after.do, tell)
	}
}

// ready is asked first by every call.
func (s *shared) ready(ctx context.Context, op string) error {
	if s.closed.Load() {
		return fmt.Errorf("workflow: %s: %w", op, ErrClosed)
	}
	if err := store.Why(ctx); err != nil {
		return fmt.Errorf("workflow: %s: %w", op, err)
	}
	return nil
}

// CreateRun creates a pending run and returns its id, a UUIDv7. The input is encoded as JSON; a [json.RawMessage] is
// taken as it is. A worker that knows the workflow will claim the run, one of this process at once.
func (s State) CreateRun(ctx context.Context, workflow string, input any) (string, error) {
	fresh, err := s.newRun(ctx, workflow, input, nil)
	if err != nil {
		return "", err
	}
	created, err := s.create(ctx, fresh)
	return created.ID, err
}

// create gives the run a UUIDv7 unless its id is chosen.
func (s State) create(ctx context.Context, run store.NewRun) (store.Run, error) {
	if run.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return store.Run{}, fmt.Errorf("workflow: create run: %w", err)
		}
		run.ID = id.String()
	}
	created, err := s.engine.Create(ctx, s.store, run)
	if err == nil {
		s.then(func() { s.engine.Created(created.Queue, created.Workflow) })
	}
	return created, err
}

// CreateRunWithID creates a pending run under an id that the caller chose, at most 255 bytes. When a run with this id
// exists, it is returned if its workflow and input are the same (compared as JSON); else ErrRunConflict. Callers that race
// get the same run.
func (s State) CreateRunWithID(ctx context.Context, id, workflow string, input any) (Run, error) {
	run, err := s.newRun(ctx, workflow, input, []StartOption{WithRunID(id)})
	if err != nil {
		return Run{}, err
	}
	created, err := s.create(ctx, run)
	return runOf(created), err
}

// newRun checks and encodes what is to be written; the run has no id unless the caller chose one.
func (s State) newRun(ctx context.Context, workflow string, input any, options []StartOption) (store.NewRun, error) {
	var o startOptions
	for _, option := range options {
		option.start(&o)
	}
	if err := s.ready(ctx, "create run"); err != nil {
		return store.NewRun{}, err
	}
	if run.InFunction(ctx) {
		return store.NewRun{}, fmt.Errorf("workflow: start a run of %q: %w", workflow, ErrStartOutsideStep)
	}
	if err := o.check(); err != nil {
		return store.NewRun{}, fmt.Errorf("workflow: start: %w", err)
	}
	if o.chosen {
		if err := checkRunID(o.runID); err != nil {
			return store.NewRun{}, err
		}
	}
	if err := checkWorkflowName(workflow); err != nil {
		return store.NewRun{}, err
	}
	payload, err := encode("input", input, s.config.PayloadLimit)
	if err == nil && o.queue.is {
		err = s.mustHaveQueue(ctx, o.queue.text)
	}
	return store.NewRun{
		ID: o.runID, Workflow: workflow, Version: s.config.Version, Input: payload, Delay: o.delay, Deadline: o.deadline,
		Place: o.place(), Attributes: o.attributes, Unique: o.unique.text,
	}, err
}

// GetRun returns a run, or ErrRunNotFound.
func (s State) GetRun(ctx context.Context, id string) (Run, error) {
	if err := s.readyRun(ctx, "get run", id); err != nil {
		return Run{}, err
	}
	run, err := s.store.GetRun(ctx, id)
	return runOf(run), err
}

// ListRuns returns a page of runs, newest first. Runs that are created meanwhile do not shift the pages that follow.
func (s State) ListRuns(ctx context.Context, filter RunFilter) (RunPage, error) {
	if err := s.ready(ctx, "list runs"); err != nil {
		return RunPage{}, err
	}
	if err := checkFilter(&filter); err != nil {
		return RunPage{}, err
	}
	found, err := s.store.ListRuns(ctx, filter.stored())
	page := RunPage{Next: found.Next, LookedTo: found.LookedTo}
	for _, run := range found.Runs {
		page.Runs = append(page.Runs, runOf(run))
	}
	return page, err
}

const (
	defaultPage = 100
	maxPage     = 1000
)

func checkFilter(filter *RunFilter) error {
	setDefault(&filter.Limit, defaultPage)
	if filter.Limit < 0 || filter.Limit > maxPage {
		return fmt.Errorf("workflow: RunFilter.Limit is %d: %w: at most %d", filter.Limit, ErrInvalidArgument, maxPage)
	}
	if filter.MaxLook < 0 {
		return fmt.Errorf("workflow: RunFilter.MaxLook is %d: %w: use 0 for no bound", filter.MaxLook, ErrInvalidArgument)
	}
	for _, status := range filter.Statuses {
		if !status.Valid() {
			return fmt.Errorf("workflow: RunFilter.Statuses has %q: %w: no such status", status, ErrInvalidArgument)
		}
	}
	if filter.Workflow != "" {
		if err := checkWorkflowName(filter.Workflow); err != nil {
			return err
		}
	}
	if err := checkAttributes("RunFilter.Attributes", filter.Attributes, 1); err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	if filter.ParentID != "" {
		if err := checkRunID(filter.ParentID); err != nil {
			return err
		}
	}
	if filter.Queue != "" {
		if err := checkName("RunFilter.Queue", filter.Queue, maxName); err != nil {
			return err
		}
	}
	if filter.SuspendedFor != "" {
		if err := checkName("RunFilter.SuspendedFor", string(filter.SuspendedFor), maxName); err != nil {
			return err
		}
	}
	if filter.Cursor != "" {
		return checkName("RunFilter.Cursor", filter.Cursor, 2*maxName)
	}
	return nil
}

// UpdateRunStatus moves a run that no worker executes. Allowed are: pending, running and suspended to each terminal
// status; pending and suspended to running; running to suspended. The same status again, with an equal output and error,
// is success; anything else is a *TransitionError. A run that a worker executes is ErrRunOwned.
//
// Output and err replace what was recorded. A nil output records none; json.RawMessage("null") records JSON null. An err
// is stored as JSON {message, code, stack} (see [Error]) and comes back as Run.Err. A run that was moved to running or
// suspended by hand is never claimed by a worker.
func (s State) UpdateRunStatus(ctx context.Context, id string, to RunStatus, output any, err error) error {
	if err := s.readyRun(ctx, "update run status", id); err != nil {
		return err
	}
	if !to.Valid() {
		return fmt.Errorf("workflow: run status %q: %w: no such status", to, ErrInvalidArgument)
	}
	var payload json.RawMessage
	if raw, isRaw := output.(json.RawMessage); output != nil && (!isRaw || raw != nil) {
		var problem error
		if payload, problem = encode("output", output, s.config.PayloadLimit); problem != nil {
			return problem
		}
	}
	if err := s.store.UpdateRunStatus(ctx, id, to, payload, store.NewError(recorded(err))); err != nil {
		return err
	}
	if to.Finished() {
		s.then(func() { s.engine.Ended(id) })
	}
	return nil
}

// Cancel stops a run, whoever executes it: once Cancel has returned (in a transaction: once that has committed) no write of
// the run commits. A run that waits is cancelled at once, and the function of one that is executed has its context ended,
// in another process with its worker's next heartbeat, or at once with a [Notifier]. With it go the runs that it has called or
// spawned, and theirs, but for those with [Abandon]. Cancelling a cancelled run is fine; a completed or failed one is a
// *TransitionError.
func (s State) Cancel(ctx context.Context, id string) error {
	if err := s.readyRun(ctx, "cancel run", id); err != nil {
		return err
	}
	cancelled, err := s.store.CancelRun(ctx, id)
	if err != nil {
		return err
	}
	s.then(func() {
		for _, id := range cancelled {
			s.engine.Cancelled(id)
		}
		s.engine.Wake() // a run that waited for this one
	})
	return nil
}

// Resume makes a failed or cancelled run pending, to go on from where it was. It edits nothing that later steps may depend on: a
// failed step is attempted again, with as many attempts as at first, only if no step was recorded after it in its branch, in a
// branch around that or in one within it. Any other failure, such as one that the workflow's function has handled, stays what
// it is. With the run go those that it waits for: a called run that was cancelled, and the one run of a [Call] if it has failed,
// under the same id. A deadline is removed. A run in a queue goes on through that. A run that is neither failed nor cancelled is a
// *TransitionError, and one whose key ([WithUnique]) an unfinished run has meanwhile is ErrUniqueTaken.
func (s State) Resume(ctx context.Context, id string) error {
	if err := s.readyRun(ctx, "resume run", id); err != nil {
		return err
	}
	if err := s.store.ResumeRun(ctx, id); err != nil {
		return err
	}
	s.then(s.engine.Wake)
	return nil
}

// DeleteRun deletes a run with its steps and signals: ErrRunNotFound, or ErrRunOwned while a worker executes it. What it has called or
// spawned stays, under ids that depend on its own: delete that too before a run is started under the same id again.
func (s State) DeleteRun(ctx context.Context, id string) error {
	if err := s.readyRun(ctx, "delete run", id); err != nil {
		return err
	}
	if err := s.store.DeleteRun(ctx, id); err != nil {
		return err
	}
	s.then(func() { s.engine.Ended(id) })
	return nil
}

func (s State) readyRun(ctx context.Context, op, id string) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	return checkRunID(id)
}

// section marks a context inside WithRunLock, with the run and the service that it belongs to.
type section struct {
	of    *shared
	runID string
}

// WithRunLock calls fn while nobody else holds the lock of the run: no other WithRunLock in any process, no other write to
// the run. The state API and the transaction that fn gets belong together; what is written through them commits with
// the release of the lock when fn returns nil, and rolls back when it returns an error or panics. fn's error is
// returned as it is.
//
// The lock is for short read-modify-write sections: it holds a connection and a transaction. fn must not write to the run
// through the service itself, which would wait for fn. Taking the lock of the same run again inside fn is fine, through
// either, as long as fn's context is passed on. On a state that is bound to a transaction the lock is held until that
// ends, and an error of fn undoes what fn wrote.
//
// ErrRunNotFound; ErrLockTimeout when others hold the lock for longer than Config.LockTimeout.
func (s State) WithRunLock(
	ctx context.Context, id string, fn func(ctx context.Context, tx *sql.Tx, state State) error,
) error {
	if err := s.readyRun(ctx, "lock run", id); err != nil {
		return err
	}
	mark := section{of: s.shared, runID: id}
	if held, ok := ctx.Value(mark).(State); ok && s.store.Tx() == nil {
		s = held
	}
	ours := new(after)
	err := s.store.WithRunLock(ctx, id, func(ctx context.Context, bound *store.Store) error {
		state := State{store: bound, shared: s.shared, after: ours}
		return fn(context.WithValue(ctx, mark, state), bound.Tx(), state)
	})
	if err == nil {
		for _, tell := range ours.do {
			s.then(tell)
		}
	}
	return err
}
