package run

import (
	"context"
	"errors"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	lockPause  = 5 * time.Millisecond // first one, for a row that another transaction has locked
)

// persist sends a row until it is acknowledged or refused for good, for as long as the run is ours: what has happened must be
// recorded, and a database that was away for a moment must not make it happen twice. The row carries its guard and is safe to
// repeat. It is not cut short when the run seems lost; the guard knows. While a stranger's transaction holds the run the row
// waits here, in memory, and neither a connection nor the rows of others wait with it.
func (r *Run) persist(row store.Write) (store.Outcome, error) {
	outcome, err := r.env.Writer.Write(context.Background(), row)
	if err == nil && outcome != store.Lost && outcome != store.Locked {
		return outcome, nil
	}
	return r.insist(row, outcome, err)
}

// insist persists a row of which the first answer was not the last.
func (r *Run) insist(row store.Write, outcome store.Outcome, err error) (store.Outcome, error) {
	locked := lockPause
	send := r.env.Writer.Write
	again := false
	err = r.repeat("write", func(ctx context.Context) error {
		if again {
			outcome, err = send(ctx, row)
		}
		again = true
		for err == nil && outcome == store.Locked && r.own.Err() == nil {
			write.Wait(r.own, nil, locked)
			locked = min(2*locked, maxPause)
			outcome, err = send(ctx, row)
		}
		if err == nil && (outcome == store.Lost || outcome == store.Locked) {
			err = store.ErrRunLost
		}
		if err != nil {
			send = r.env.Writer.Alone // the answer was lost, perhaps, and there is a row; or others are not to be refused with it
		}
		return err
	})
	return outcome, err
}

// isRefusal reports whether the database would refuse a row again, whoever grants or migrates what.
func isRefusal(err error) bool { return store.IsPermanent(err) && !store.IsForAWhile(err) }

// repeat calls do until it succeeds, is refused twice in a row, or the run is no longer ours.
func (r *Run) repeat(op string, do func(context.Context) error) error {
	refusals := 0
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(context.WithoutCancel(r.own))
		if err == nil || errors.Is(err, store.ErrRunLost) || r.own.Err() != nil {
			return err
		}
		if !isRefusal(err) {
			refusals = 0
		} else if refusals++; refusals == 2 {
			return err
		}
		r.tell(write.Event{Kind: write.Trouble, Op: op, Err: err})
		write.Wait(r.own, nil, pause)
	}
}
