package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// errNotWritten rolls back a transaction whose checkpoint was refused.
var errNotWritten = errors.New("checkpoint not written")

// CheckpointTx begins a transaction at the given isolation, calls f in it, and commits what f wrote together with the
// step's success, or neither. f's result is the step's, and the time of its last call the step's time. f runs again after a
// serialization failure or a deadlock, and after a commit whose answer was lost, unless it turns out to have succeeded.
//
// It returns the step as recorded, which is an earlier success if there was one. The errors are f's own, those of the
// server, ErrRunLost when the run has another owner by now, ErrLockTimeout when others hold it for longer than
// Options.LockTimeout, and ErrTxMisused when f left the transaction unusable.
func (s *Store) CheckpointTx(
	ctx context.Context, c *Checkpoint, isolation sql.IsolationLevel,
	f func(context.Context, *sql.Tx) (json.RawMessage, error),
) (Step, error) {
	op := fmt.Sprintf("checkpoint step %q of run %q", c.Name, c.RunID)
	var step Step
	var failed error // of f
	err := pg.Resend(ctx, func() error {
		began := time.Now()
		return s.db.Transact(ctx, isolation, func(tx *pg.DB) error {
			var result json.RawMessage
			if result, failed = f(ctx, tx.Tx()); failed != nil {
				if !tx.Undo() && ctx.Err() == nil {
					failed = fmt.Errorf("%w: %w", errEnded, failed)
				}
				return failed
			}
			written := *c
			written.Result, written.Took = result, time.Since(began)
			step = written.Step()
			return s.on(tx.Own()).checkpointIn(ctx, &written)
		})
	})
	switch unknown := (*pg.CommitError)(nil); {
	case err == nil:
		return step, nil
	case failed != nil:
		return Step{}, err
	case !errors.Is(err, errNotWritten) && !errors.As(err, &unknown):
		return Step{}, pg.Problem(op, err)
	}
	// Refused, or perhaps committed: the row tells. The step's ctx may have ended by now.
	found, lost := s.recorded(context.WithoutCancel(ctx), c.Owned, c.Name)
	switch {
	case lost != nil:
		return Step{}, pg.Problem(op, lost)
	case found.Status == StepSucceeded:
		return found, nil
	default:
		return Step{}, pg.Problem(op, err)
	}
}

// checkpointIn is the last statement of a transaction, so a lock of the run that is only shared suffices.
func (s *Store) checkpointIn(ctx context.Context, c *Checkpoint) error {
	outcome, err := s.writeOne(ctx, c)
	if err == nil && outcome == Locked {
		if err = s.waitForRow(ctx, lockRowShared, c.RunID); err == nil {
			outcome, err = s.writeOne(ctx, c)
		}
	}
	err = misused(ctx, err)
	if err == nil && outcome != Written {
		err = errNotWritten
	}
	return err
}

var lockRowShared = pg.Define("lock_row_shared", `
	SELECT id
	FROM {schema}.workflow_runs
	WHERE id = $1
	FOR SHARE`)

var errEnded = fmt.Errorf("%w: its function ended it, which is done for it: it must neither commit nor roll back", ErrTxMisused)

// misused explains an error of the checkpoint that f's use of its transaction caused, or may have caused.
func misused(ctx context.Context, err error) error {
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("%w: %w", errEnded, err)
	case pg.IsAborted(err):
		return fmt.Errorf("%w: a statement in it had failed, and its function did not return that error: %w", ErrTxMisused, err)
	case pg.SQLState(err) == "" && !errors.Is(err, ErrLockTimeout) && !errors.Is(err, ErrRunNotFound):
		return fmt.Errorf("%w (the connection was lost, or the step's function left rows of its transaction open)", err)
	default:
		return err
	}
}
