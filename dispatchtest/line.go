package dispatchtest

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/sqlworkflow/workflow"
)

// A line is the way to the queue, on which messages are lost and doubled, and which is cut at times.
type line struct {
	queue   workflow.Dispatcher
	doubles bool
	loses   func(runID string, nth int) bool // nil: nothing is lost

	mu      sync.Mutex
	cut     bool
	refused int
	told    map[string]int // by run
}

func newLine(s *stage) *line {
	return &line{queue: s.queue.Dispatcher, told: make(map[string]int)}
}

var errDown = errors.New("the queue is down")

// dispatcher returns the line as what the adapter is: one that takes part in transactions, or not.
func (l *line) dispatcher() workflow.Dispatcher {
	if queue, ok := l.queue.(workflow.TxDispatcher); ok {
		return txLine{l, queue}
	}
	return l
}

// Dispatch passes messages on.
func (l *line) Dispatch(ctx context.Context, runIDs []string) error {
	return l.pass(runIDs, func(runIDs []string) error { return l.queue.Dispatch(ctx, runIDs) })
}

type txLine struct {
	*line
	queue workflow.TxDispatcher
}

// DispatchTx passes messages on.
func (l txLine) DispatchTx(ctx context.Context, tx *sql.Tx, runIDs []string) error {
	return l.pass(runIDs, func(runIDs []string) error { return l.queue.DispatchTx(ctx, tx, runIDs) })
}

func (l *line) pass(runIDs []string, to func([]string) error) error {
	l.mu.Lock()
	if l.cut {
		l.refused++
		l.mu.Unlock()
		return errDown
	}
	var left []string
	for _, id := range runIDs {
		l.told[id]++
		if l.loses == nil || !l.loses(id, l.told[id]) {
			left = append(left, id)
		}
	}
	l.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	err := to(left)
	if err == nil && l.doubles {
		err = to(left)
	}
	return err
}

func (l *line) goesDown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.refused = true, 0
}

func (l *line) goesUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// refusals returns how often the line has refused since it went down.
func (l *line) refusals() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// messages returns how often the queue was told of a run.
func (l *line) messages(runID string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[runID]
}
