package engine

import (
	"context"
	"sync"
	"time"
)

// queueNames remembers which queues there are, for a while: they are asked for whenever a run is started on one.
type queueNames struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// rememberQueue is how long a queue is believed to be there that was. None is ever deleted but by hand.
const rememberQueue = time.Minute

// HasQueue reports whether there is a queue of this name. Without a queue there is nothing to be had.
func (e *Engine) HasQueue(ctx context.Context, name string) (bool, error) {
	if name == NoQueue || e.exist.has(name, time.Now()) {
		return true, nil
	}
	found, err := e.store.HasQueue(ctx, name)
	if found && err == nil {
		e.exist.add(name, time.Now())
	}
	return found, err
}

// KnowsQueue reports whether [Engine.HasQueue] would say so without asking anybody.
func (e *Engine) KnowsQueue(name string) bool {
	return name == NoQueue || e.exist.has(name, time.Now())
}

func (n *queueNames) has(name string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen, ok := n.seen[name]
	return ok && now.Sub(seen) < rememberQueue
}

func (n *queueNames) add(name string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = make(map[string]time.Time)
	}
	n.seen[name] = now
}
