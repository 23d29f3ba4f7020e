package engine

import (
	"context"

	"github.com/sqlworkflow/workflow/store"
)

// Send sends a signal, with those of others where that is safe; see [store.Store.SendSignal] for what it returns. One that could not
// be written at once, since others hold its run or for whatever reason, is sent by itself: that waits, and tells the reason. The end
// of ctx ends the wait alone; the signal may be sent all the same.
func (e *Engine) Send(ctx context.Context, signal store.NewSignal) (sent bool, err error) {
	outcome, err := e.signals.Write(ctx, signal)
	if err != nil || outcome == store.Written {
		return err == nil, err
	}
	return e.store.SendSignal(ctx, signal)
}
