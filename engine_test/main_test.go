// Package engine_test holds the engine to its promises on a real PostgreSQL, through the root package, from outside. Its
// workers are processes that can be killed at any statement.
//
// make test cuts by one driver; make test-all does so by both, each in one way of sending statements, and make soak by each in both.
package engine_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// lease is short enough to see heartbeats, and longer than a busy machine keeps one waiting.
	lease     = 3 * time.Second
	shortPoll = 10 * time.Millisecond
)

// A way is a driver and how its lone statements are sent.
type way struct {
	name       string
	access     pgtest.Access
	statements workflow.Statements
}

var everyWay = []way{
	{"pq, InTx", pgtest.PQ, workflow.StatementsInTx},
	{"pgx, Single", pgtest.PGX, workflow.StatementsSingle},
	{"pq, Single", pgtest.PQ, workflow.StatementsSingle},
	{"pgx, InTx", pgtest.PGX, workflow.StatementsInTx},
}

// crossed are a way of each driver and each way of sending statements; all in the soak size, which takes twice the time.
func crossed() []way {
	if pgtest.Soak() {
		return everyWay
	}
	return everyWay[:2]
}
