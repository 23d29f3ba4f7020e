// Package engine_test holds the engine to its promises on a real PostgreSQL, through the root package, from outside. Its
// workers are processes that can be killed at any statement.
//
// make test cuts by one driver; make test-all does so by both, in both ways of sending statements.
package engine_test

import (
	"context"
	"database/sql"
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

	// patience bounds what a test waits for; it is met only by a test that fails.
	patience = 30 * time.Second
)

// A way is a driver and how its lone statements are sent.
type way struct {
	name       string
	access     pgtest.Access
	statements workflow.Statements
}

var everyWay = []way{
	{"pq, InTx", pgtest.PQ, workflow.InTx},
	{"pgx, Single", pgtest.PGX, workflow.Single},
	{"pq, Single", pgtest.PQ, workflow.Single},
	{"pgx, InTx", pgtest.PGX, workflow.InTx},
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// within bounds a wait for something that must happen.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	deadline, pause := time.Now().Add(patience), time.NewTicker(5*time.Millisecond)
	defer pause.Stop()
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("did not come to pass: %s", what)
		}
		<-pause.C
	}
}
