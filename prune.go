package workflow

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/store"
)

// Prune says which finished runs [Service.Prune] deletes. A run stays while the one that has started it, or one that it has started, is not
// finished.
type Prune struct {
	// Before is when a run must have ended at the latest. Required.
	Before time.Time

	// Statuses are those of the runs that go; only terminal ones are allowed. Defaults to all of these: completed, failed and cancelled.
	Statuses []RunStatus

	// Workflow is that of the runs that go. Defaults to all workflows.
	Workflow string

	// Attributes are those that the runs that go all have ([WithAttributes]). Defaults to none: all runs.
	Attributes map[string]string

	// DryRun counts what would go, and deletes nothing.
	DryRun bool

	// Batch is how many runs one transaction looks at, of which it deletes those that may go. Too high, and it holds locks for long and
	// vacuum waits; too low, and it takes longer. Defaults to 1,000; at most 10,000.
	Batch int

	// Archive is called in the transaction that deletes runs, before it does: read them with [Service.In], and write elsewhere what is to be
	// kept. Its error ends Prune, and these runs stay. It may be called again with the same runs when the server asks for the transaction
	// to be repeated. Config.Timeout bounds it. Defaults to none.
	Archive func(ctx context.Context, tx *sql.Tx, runIDs []string) error

	// Progress is called after each batch with all that has been done so far. Defaults to none.
	Progress func(Pruned)
}

// Pruned is what [Service.Prune] has done.
type Pruned struct {
	Runs   int64 // that were deleted, or would be in a dry run
	Looked int64 // runs that it looked at, those that stay among them
}

// Prune deletes finished runs with their steps and signals, the oldest first, in batches that are each a transaction of its own: it walks
// the index of creation once, so that it costs as much beside a million runs as beside few. Any number of processes may prune at once. It
// waits for no lock: what somebody else holds is left for the next time. When it ends with an error, Pruned says what is done.
//
// Config.Retention prunes all the time.
func (s *Service) Prune(ctx context.Context, prune Prune) (Pruned, error) {
	var done Pruned
	if err := s.ready(ctx, "prune"); err != nil {
		return done, err
	}
	request, err := prune.request()
	if err != nil {
		return done, err
	}
	for {
		var stretch store.PruneStretch
		if prune.DryRun {
			stretch, err = s.store.FindOldRuns(ctx, request)
		} else {
			stretch, err = s.store.PruneRuns(ctx, request, prune.Archive)
		}
		if err != nil {
			return done, err
		}
		done.Runs += int64(len(stretch.RunIDs))
		done.Looked += int64(stretch.Looked)
		if prune.Progress != nil {
			prune.Progress(done)
		}
		if request.At = stretch.Next; request.At == (store.PruneKey{}) {
			return done, nil
		}
		if err := store.Why(ctx); err != nil {
			return done, fmt.Errorf("workflow: prune: %w", err)
		}
	}
}

const maxPruneBatch = 10_000

func (p Prune) request() (store.PruneRequest, error) {
	setDefault(&p.Batch, store.PruneBatch)
	if len(p.Statuses) == 0 {
		p.Statuses = store.TerminalStatuses
	}
	refuse := func(what string, of ...any) (store.PruneRequest, error) {
		return store.PruneRequest{}, fmt.Errorf("workflow: prune: %w: Prune."+what, append([]any{ErrInvalidArgument}, of...)...)
	}
	switch {
	case p.Before.IsZero():
		return refuse("Before is zero: say which runs are old")
	case p.Batch < 0 || p.Batch > maxPruneBatch:
		return refuse("Batch is %d: use at most %d", p.Batch, maxPruneBatch)
	}
	for _, status := range p.Statuses {
		if !status.Finished() {
			return refuse("Statuses has %q: only finished runs go", status)
		}
	}
	if p.Workflow != "" {
		if err := checkWorkflowName(p.Workflow); err != nil {
			return store.PruneRequest{}, err
		}
	}
	if err := checkAttributes("Prune.Attributes", p.Attributes, 1); err != nil {
		return store.PruneRequest{}, fmt.Errorf("workflow: prune: %w", err)
	}
	return store.PruneRequest{
		Before: p.Before.UnixMilli(), Statuses: p.Statuses, Workflow: p.Workflow, Attributes: p.Attributes, Limit: p.Batch,
	}, nil
}
