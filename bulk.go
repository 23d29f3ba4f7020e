package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Bulk says which runs [Service.CancelRuns], [Service.ResumeRuns] and [Service.DeleteRuns] are about, and how.
type Bulk struct {
	// Filter selects the runs: all of its pages, newest first; its Limit is how many are read at a time. Required: an empty filter
	// selects all runs, and is refused.
	Filter RunFilter

	// DryRun counts what is selected, and changes nothing.
	DryRun bool

	// Progress is called after each page with all that has been done so far. Defaults to none.
	Progress func(BulkDone)
}

// BulkDone is what has been done to many runs.
type BulkDone struct {
	Selected int64 // by the filter, as far as it was read
	Changed  int64 // cancelled, resumed or deleted; in a dry run 0
	Left     int64 // that could not be: they had changed, as one that has ended since, or one that a worker executes was to be deleted
}

// CancelRuns cancels the selected runs that are not finished, as [State.Cancel] does: one after the other, each by a statement of its own,
// with what it has started. It may be ended and called again. When it ends with an error, BulkDone says what is done.
func (s *Service) CancelRuns(ctx context.Context, bulk Bulk) (BulkDone, error) {
	unfinished := []RunStatus{RunPending, RunRunning, RunSuspended}
	return s.bulk(ctx, "cancel runs", bulk, unfinished, s.Cancel)
}

// ResumeRuns resumes the selected runs that have failed or were cancelled, as [State.Resume] does, and else is like [Service.CancelRuns].
func (s *Service) ResumeRuns(ctx context.Context, bulk Bulk) (BulkDone, error) {
	return s.bulk(ctx, "resume runs", bulk, []RunStatus{RunFailed, RunCancelled}, s.Resume)
}

// DeleteRuns deletes the selected runs, finished or not, as [State.DeleteRun] does, and else is like [Service.CancelRuns]. For runs that
// ended long ago [Service.Prune] is much faster, and keeps families together.
func (s *Service) DeleteRuns(ctx context.Context, bulk Bulk) (BulkDone, error) {
	every := []RunStatus{RunPending, RunRunning, RunSuspended, RunCompleted, RunFailed, RunCancelled}
	return s.bulk(ctx, "delete runs", bulk, every, s.DeleteRun)
}

func (s *Service) bulk(
	ctx context.Context, op string, bulk Bulk, eligible []RunStatus, change func(context.Context, string) error,
) (done BulkDone, err error) {
	filter := bulk.Filter
	if filter.isEmpty() {
		return done, fmt.Errorf("workflow: %s: %w: Bulk.Filter selects all runs: say which", op, ErrInvalidArgument)
	}
	if filter.Statuses, err = among(filter.Statuses, eligible); err != nil {
		return done, fmt.Errorf("workflow: %s: %w", op, err)
	}
	for {
		page, err := s.ListRuns(ctx, filter)
		if err != nil {
			return done, err
		}
		for _, run := range page.Runs {
			done.Selected++
			if bulk.DryRun {
				continue
			}
			switch err := change(ctx, run.ID); {
			case err == nil:
				done.Changed++
			case leftAlone(err):
				done.Left++
			default:
				return done, err
			}
		}
		if bulk.Progress != nil {
			bulk.Progress(done)
		}
		if filter.Cursor = page.Next; page.Next == "" {
			return done, nil
		}
	}
}

// leftAlone reports whether an error is about one run, which has changed since it was selected.
func leftAlone(err error) bool {
	var transition *TransitionError
	return errors.As(err, &transition) || errors.Is(err, ErrRunNotFound) || errors.Is(err, ErrRunOwned) || errors.Is(err, ErrUniqueTaken)
}

// among are the statuses that were asked for; none: all eligible ones.
func among(asked, eligible []RunStatus) ([]RunStatus, error) {
	if len(asked) == 0 {
		return eligible, nil
	}
	for _, status := range asked {
		if !slices.Contains(eligible, status) {
			return nil, fmt.Errorf("%w: Bulk.Filter.Statuses has %q: use some of %q", ErrInvalidArgument, status, eligible)
		}
	}
	return asked, nil
}

// isEmpty reports whether the filter selects all runs.
func (f RunFilter) isEmpty() bool {
	return f.Workflow == "" && len(f.Statuses) == 0 && f.SuspendedFor == "" && f.Queue == "" && f.ParentID == "" &&
		len(f.Attributes) == 0 && f.CreatedFrom.IsZero() && f.CreatedBefore.IsZero()
}
