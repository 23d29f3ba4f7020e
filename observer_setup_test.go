package workflow_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// watcher keeps what it is told.
type watcher struct {
	mu     sync.Mutex
	events []workflow.Event
}

func (w *watcher) Observe(e workflow.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// of returns what was told of a run, or of all.
func (w *watcher) of(runID string) (events []workflow.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if runID == "" || e.RunID == runID {
			events = append(events, e)
		}
	}
	return events
}

// await waits until an event of a kind has been told of a run, and returns it.
func (w *watcher) await(t *testing.T, runID string, kind workflow.EventKind) (found workflow.Event) {
	t.Helper()
	kit.Until(t, "an event "+string(kind), func() bool {
		for _, e := range w.of(runID) {
			if e.Kind == kind {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// forget drops the events of some kinds.
func (w *watcher) forget(kinds ...workflow.EventKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = slices.DeleteFunc(w.events, func(e workflow.Event) bool { return slices.Contains(kinds, e.Kind) })
}

func kindsOf(events []workflow.Event) (kinds []workflow.EventKind) {
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// watched is a service with an observer.
func (b *bench) watched(observer workflow.Observer, changes ...func(*workflow.Config)) *workflow.Service {
	return b.service(append(slices.Clone(changes), func(c *workflow.Config) { c.Observer = observer })...)
}
