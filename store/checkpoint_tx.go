package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sqlworkflow/workflow/lock"
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
) (*Step, error) {
	op := fmt.Sprintf("checkpoint step %q of run %q", c.Name, c.RunID)
	var step *Step
	var failed error // of f
	attempt := func() error {
		began := time.Now()
		return s.transact(ctx, isolation, func(tx *sqlx.Tx) error {
			var result json.RawMessage
			if result, failed = f(ctx, tx.Tx); failed != nil {
				return failed
			}
			written := *c
			written.Result, written.Took = result, time.Since(began)
			step = written.Step()
			return s.checkpointIn(ctx, tx, &written)
		})
	}
	err := resend(ctx, attempt)
	switch unknown := (*commitError)(nil); {
	case err == nil:
		return step, nil
	case failed != nil:
		return nil, err
	case !errors.Is(err, errNotWritten) && !errors.As(err, &unknown):
		return nil, problem(op, misused(err))
	}
	// Refused, or perhaps committed: the row tells. The step's ctx may have ended by now.
	found, lost := s.recorded(context.WithoutCancel(ctx), c.Owned, c.Name)
	switch {
	case lost != nil:
		return nil, problem(op, lost)
	case found.Status == StepSucceeded:
		return &found, nil
	default:
		return nil, problem(op, err)
	}
}

// checkpointIn is the last statement of a transaction, so a lock of the run that is only shared suffices.
func (s *Store) checkpointIn(ctx context.Context, tx *sqlx.Tx, c *Checkpoint) error {
	write := func() (Outcome, error) {
		var missed []struct {
			Kind    int    `db:"kind"`
			N       int    `db:"n"`
			Outcome string `db:"outcome"`
		}
		err := sqlx.SelectContext(ctx, tx, &missed, s.writes.alone(checkpointKind), c.row()...)
		if err != nil || len(missed) == 0 {
			return Written, err
		}
		return outcomes[missed[0].Outcome], nil
	}
	outcome, err := write()
	if err == nil && outcome == Locked {
		err = lock.Within(ctx, tx.Tx, s.opts.LockTimeout, func(ctx context.Context) error {
			_, err := tx.ExecContext(ctx, s.text.alone[lockRowShared], c.RunID)
			return err
		})
		if err == nil {
			outcome, err = write()
		}
	}
	if err == nil && outcome != Written {
		err = errNotWritten
	}
	return err
}

var lockRowShared = define("lock_row_shared", `
	SELECT id
	FROM {schema}.workflow_runs
	WHERE id = $1
	FOR SHARE`)

// misused explains an error of the checkpoint that f's use of its transaction caused.
func misused(err error) error {
	switch {
	case errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("%w: the step's function ended it, which is done for it: it must neither commit nor roll back: %w", ErrTxMisused, err)
	case sqlState(err) == inFailedTransaction:
		return fmt.Errorf("%w: a statement in it had failed and the step's function did not return that error: %w", ErrTxMisused, err)
	default:
		return err
	}
}
