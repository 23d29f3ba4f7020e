package engine

import (
	"context"
	"time"

	"github.com/sqlworkflow/workflow/internal/engine/write"
	"github.com/sqlworkflow/workflow/store"
)

// A pruner deletes runs that ended longer ago than Config.Retention, some stretches a turn, so that it is never in the way for long.
type pruner struct {
	worker *worker
	at     store.PruneKey // where the next turn goes on
}

const (
	pruneStretches = 100 // a turn
	pruneBound     = 5 * time.Minute
)

func (p *pruner) prune(ctx context.Context) error {
	w := p.worker
	now, err := w.store.Now(ctx)
	if err != nil {
		return err
	}
	request := store.PruneRequest{
		Before: now.Add(-w.config.Retention).UnixMilli(), Statuses: store.TerminalStatuses, Limit: store.PruneBatch, At: p.at,
	}
	deleted := 0
	for range pruneStretches {
		var stretch store.PruneStretch
		if stretch, err = w.store.PruneRuns(ctx, request, nil); err != nil {
			break
		}
		deleted += len(stretch.RunIDs)
		if request.At = stretch.Next; request.At == (store.PruneKey{}) {
			break
		}
	}
	p.at = request.At
	if deleted > 0 {
		w.engine.observer.Observe(write.Event{Kind: write.RunsPruned, Count: int64(deleted)})
	}
	return err
}
