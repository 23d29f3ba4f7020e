// Package dispatchtest has the tests that every adapter between this library and a queue must pass; see
// workflow.Config.Dispatcher. They inject what goes wrong (messages that are lost, doubled, late or of unknown runs, a queue that is
// down, transactions that are rolled back, a consumer that ends) and look whether any run is failed, stranded or executed twice.
//
//	func TestDispatcher(t *testing.T) {
//		dispatchtest.Run(t, openDatabase, func(t *testing.T, db *sql.DB) dispatchtest.Queue {
//			queue := newQueue(t, db)
//			return dispatchtest.Queue{Dispatcher: queue, Consume: queue.consume}
//		})
//	}
package dispatchtest

import (
	"context"
	"database/sql"
	"testing"

	"github.com/sqlworkflow/workflow"
)

// A Queue is an adapter and its queue, for one test. What it opens it closes in t.Cleanup.
type Queue struct {
	// Dispatcher is the adapter. If it is a [workflow.TxDispatcher], that it commits with the run is tested too.
	Dispatcher workflow.Dispatcher

	// Consume begins to consume the queue: it calls execute with the run id of each message, for at least four messages at a time. A
	// message for which execute returns an error comes again within seconds, but for [workflow.ErrRunNotFound]. Consume is called again after
	// stop, which ends the consumer as a deploy does: it ends the contexts of what is being executed, and waits for that.
	Consume func(execute Execute) (stop func(), err error)
}

// Execute is [workflow.Service.Execute], in which faults may be injected.
type Execute func(ctx context.Context, runID string) error

// Run runs all tests. Open returns a pool on a database that the test has for itself, which the tests close no more than
// [workflow.Service] does; they make the workflow tables in it. Queue makes a queue, with all that it needs in that database.
func Run(t *testing.T, open func(t *testing.T) *sql.DB, queue func(t *testing.T, db *sql.DB) Queue) {
	t.Helper()
	for _, test := range []struct {
		name string
		test func(t *testing.T, s *stage)
	}{
		{"runs", testRuns},
		{"signals", testSignals},
		{"timers", testTimers},
		{"children", testChildren},
		{"transactions", testTransactions},
		{"lost messages", testLost},
		{"messages that nobody acted upon", testForgotten},
		{"doubled messages", testDoubled},
		{"late messages", testLate},
		{"messages of unknown runs", testUnknown},
		{"messages that come again", testAgain},
		{"a queue that is down", testDown},
		{"a consumer that ends", testConsumerEnds},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			test.test(t, &stage{t: t, db: db, queue: queue(t, db), executed: make(map[string]int), effects: make(map[string]int)})
		})
	}
}
